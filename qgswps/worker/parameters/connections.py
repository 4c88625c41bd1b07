"""Parameters that name what an administrator has set up: connections, secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from qgis.core import QgsProcessingParameterDefinition, QgsProviderRegistry

from qgswps.model import InputValue, LiteralType, Metadata, WorkerSettings
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import Handler, default, register, text, unexpected
from qgswps.worker.parameters.literals import StringHandler


class NameHandler(Handler):
    """One of some names."""

    said: ClassVar[str]

    def names(self, param: QgsProcessingParameterDefinition) -> list[str]:
        """What there is to choose from."""
        raise NotImplementedError

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        names = self.names(param)
        value = default(param)
        return LiteralType(
            "string", str(value) if value in names else None, tuple(names)
        )

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> str:
        given = text(param, inputs[0]).strip()
        names = self.names(param)
        if given not in names:
            listed = ", ".join(names) or "there is none"
            raise unexpected(param, repr(given), f"{self.said}: {listed}")
        return given


@register
class ConnectionHandler(NameHandler):
    """
    The name of a database connection in QGIS's settings; never where a
    database is.
    """

    types = ("providerconnection",)
    said = "a connection that the server has"

    def names(self, param: QgsProcessingParameterDefinition) -> list[str]:
        metadata = QgsProviderRegistry.instance().providerMetadata(param.providerId())
        return sorted(metadata.connections()) if metadata is not None else []

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        return [Metadata("processing:providerId", param.providerId())]


@register
class AuthenticationHandler(NameHandler):
    """An authentication configuration, of those that clients may use."""

    types = ("authcfg",)
    said = "an authentication configuration that clients may use"

    allowed: ClassVar[tuple[str, ...]] = ()

    def names(self, param: QgsProcessingParameterDefinition) -> list[str]:
        return list(self.allowed)


def install(settings: WorkerSettings) -> None:
    """Take the names that settings allow."""
    AuthenticationHandler.allowed = settings.authConfigs


@register
class DatabasePartHandler(StringHandler):
    """A schema or a table of a database, which need not be there yet."""

    types = ("databaseschema", "databasetable")
