"""The Capabilities document (WPS 1.0.0, section 8.3)."""

from __future__ import annotations

from collections.abc import Iterable

from qgswps.errors import Fault, OWSError
from qgswps.model import ProcessDescription
from qgswps.ows.service import Contact, ServiceIdentification
from qgswps.ows.wps100.common import (
    VERSION,
    languageTag,
    processBrief,
    responseBase,
)
from qgswps.ows.xmlio import Markup, anyURI, document, element, escape, optional


def capabilities(
    service: ServiceIdentification, processes: Iterable[ProcessDescription], url: str
) -> bytes:
    """
    The service and its processes in short.

    @param processes: those with an output, as the standard asks for one;
        others are passed over.
    @param url: public URL of the OWS endpoint, for GET and POST.
    @raise OWSError: there is no process, which the document can't say.
    """
    offered = [
        element(
            "wps:Process",
            processBrief(process),
            attributes={"wps:processVersion": process.version},
        )
        for process in processes
        if process.outputs
    ]
    if not offered:
        raise OWSError(Fault("NoApplicableCode", "no process is published"), 503)
    language = element("ows:Language", languageTag(service.language))
    return document(
        "wps:Capabilities",
        _identification(service),
        _provider(service),
        _operations(url),
        element("wps:ProcessOfferings", *offered),
        element(
            "wps:Languages",
            element("wps:Default", language),
            element("wps:Supported", language),
        ),
        attributes=responseBase(service.language),
    )


def _identification(service: ServiceIdentification) -> Markup:
    keywords = [
        element("ows:Keyword", escape(word)) for word in service.keywords if word
    ]
    constraints = [
        element("ows:AccessConstraints", escape(text))
        for text in service.accessConstraints
        if text
    ]
    return element(
        "ows:ServiceIdentification",
        optional("ows:Title", service.title),
        optional("ows:Abstract", service.abstract),
        element("ows:Keywords", *keywords, optional("ows:Type", service.keywordsType))
        if keywords
        else None,
        element("ows:ServiceType", "WPS"),
        element("ows:ServiceTypeVersion", VERSION),
        optional("ows:Fees", service.fees),
        *constraints,
    )


def _optionalLink(name: str, url: str) -> Markup | None:
    return _link(name, url) if url else None


def _link(name: str, url: str) -> Markup:
    return element(name, attributes={"xlink:type": "simple", "xlink:href": anyURI(url)})


def _provider(service: ServiceIdentification) -> Markup:
    contact = service.contact
    return element(
        "ows:ServiceProvider",
        element("ows:ProviderName", escape(service.providerName)),
        _optionalLink("ows:ProviderSite", service.providerSite),
        element(
            "ows:ServiceContact",
            optional("ows:IndividualName", contact.individualName),
            optional("ows:PositionName", contact.positionName),
            _contactInfo(contact),
            optional("ows:Role", contact.role),
        ),
    )


def _group(name: str, *contents: Markup | None) -> Markup | None:
    """An element, or None if it would be empty."""
    return element(name, *contents) if any(contents) else None


def _contactInfo(contact: Contact) -> Markup | None:
    return _group(
        "ows:ContactInfo",
        _group(
            "ows:Phone",
            optional("ows:Voice", contact.phone),
            optional("ows:Facsimile", contact.fax),
        ),
        _group(
            "ows:Address",
            optional("ows:DeliveryPoint", contact.deliveryPoint),
            optional("ows:City", contact.city),
            optional("ows:AdministrativeArea", contact.administrativeArea),
            optional("ows:PostalCode", contact.postalCode),
            optional("ows:Country", contact.country),
            optional("ows:ElectronicMailAddress", contact.email),
        ),
        _optionalLink("ows:OnlineResource", contact.url),
        optional("ows:HoursOfService", contact.hours),
        optional("ows:ContactInstructions", contact.instructions),
    )


def _operations(url: str) -> Markup:
    http = element(
        "ows:DCP", element("ows:HTTP", _link("ows:Get", url), _link("ows:Post", url))
    )
    return element(
        "ows:OperationsMetadata",
        *(
            element("ows:Operation", http, attributes={"name": name})
            for name in ("GetCapabilities", "DescribeProcess", "Execute")
        ),
    )
