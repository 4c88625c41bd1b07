"""What a service says of itself (OWS Common 1.1.0, sections 7.4.3 and 7.4.4)."""

from __future__ import annotations

import attrs


@attrs.frozen
class Contact:
    """Who answers for the service; empty texts are left out of documents."""

    individualName: str = ""
    positionName: str = ""
    phone: str = ""
    fax: str = ""
    deliveryPoint: str = ""
    city: str = ""
    administrativeArea: str = ""
    postalCode: str = ""
    country: str = ""
    email: str = ""
    url: str = ""
    hours: str = ""
    instructions: str = ""
    role: str = ""


@attrs.frozen
class ServiceIdentification:
    """
    The service and its provider.

    @ivar keywordsType: the kind of the keywords, C{theme}, or empty.
    @ivar language: RFC 4646 tag of the texts that the server writes.
    """

    title: str = "QGIS Web Processing Service"
    abstract: str = ""
    keywords: tuple[str, ...] = ()
    keywordsType: str = ""
    fees: str = "NONE"
    accessConstraints: tuple[str, ...] = ("NONE",)
    providerName: str = "qgswps"
    providerSite: str = ""
    contact: Contact = Contact()
    language: str = "en"
