"""
The neutral model: processes, requests, jobs and results as values.

A request of any protocol becomes one L{ExecuteRequest}, and the documents of
any protocol are made from these values when they are read.  The server, the
fork server and the workers exchange them as JSON files (see
L{qgswps.codec}), so that no protocol's XML is ever stored.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

import attrs

from qgswps.errors import Fault

#: The media types that stand for a reference to a map service, and the service.
SERVICES: Mapping[str, str] = {
    "application/x-ogc-wms": "WMS",
    "application/x-ogc-wfs": "WFS",
    "application/x-ogc-wcs": "WCS",
    "application/x-ogc-wmts": "WMTS",
}

#: The identifier of the one process that is no algorithm of QGIS, whose
#: identifiers have the name of a provider and a colon.
ECHO = "echo"

# Descriptions


@attrs.frozen
class Format:
    """
    The form of complex data (WPS 1.0.0, section 9.3.1).

    @ivar mimeType: media type, without parameters where it has none.
    @ivar encoding: C{"base64"}, C{"UTF-8"} … or None.
    @ivar schema: URL of a schema, or None.
    """

    mimeType: str
    encoding: str | None = None
    schema: str | None = None


@attrs.frozen
class Metadata:
    """A further fact, named by the field's C{processing:*} titles."""

    title: str
    value: str = ""


@attrs.frozen
class Range:
    """A closed interval of numbers; None leaves a side open."""

    minimum: str | None = None
    maximum: str | None = None


@attrs.frozen
class ProjectPart:
    """
    What of a project a literal names, to know what there is to choose from.

    @ivar kind: C{field}, C{band}, C{group} (of a mesh's datasets), C{layout}
        or C{theme}.
    @ivar parent: the input that says which layer has the fields, bands or
        groups.
    @ivar fieldType: the fields that fit: C{numeric}, C{string}, C{datetime},
        C{binary}, C{boolean}; None for any.
    """

    kind: str
    parent: str | None = None
    fieldType: str | None = None


@attrs.frozen
class LiteralType:
    """
    A value that one text says.

    @ivar dataType: local name of an XML Schema type: C{string}, C{integer},
        C{float}, C{boolean}, C{dateTime} …
    @ivar default: the text that QGIS takes when no value is given.
    @ivar allowed: the texts to choose from; empty for any.
    @ivar ranges: the numbers that are allowed; empty for any.
    @ivar uoms: the units accepted, the default first; empty for none.
    @ivar part: what of a project it names; None for no such thing.
    @ivar dynamic: a JSON object may stand for it that says how each feature
        gives its own: C{{"field": …}} or C{{"expression": …}}.
    @ivar form: what the text has to be like, one of L{qgswps.forms.FORMS};
        empty for anything.
    @ivar defaults: the texts that QGIS takes, all of them, when no value is
        given; C{default} is None where these are several.
    """

    dataType: str = "string"
    default: str | None = None
    allowed: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    uoms: tuple[str, ...] = ()
    part: ProjectPart | None = None
    dynamic: bool = False
    form: str = ""
    defaults: tuple[str, ...] = ()


@attrs.frozen
class ComplexType:
    """
    Structured or binary data.

    @ivar formats: what is read or written, the default first.
    @ivar maximumMegabytes: cap on an inline or referenced input.
    @ivar default: the text that QGIS takes when no value is given.
    @ivar jsonSchema: what JSON has to be like, as the text of a JSON Schema.
    @ivar form: what a text has to be like, as in L{LiteralType.form}.
    """

    formats: tuple[Format, ...]
    maximumMegabytes: int | None = None
    default: str | None = None
    jsonSchema: str | None = None
    form: str = ""


@attrs.frozen
class BoundingBoxType:
    """
    A rectangle.

    @ivar crss: the CRSs accepted, as C{EPSG:code}, the default first.
    @ivar default: C{(minx, miny, maxx, maxy)} in the default CRS, x before y.
    """

    crss: tuple[str, ...]
    default: tuple[float, float, float, float] | None = None


@attrs.frozen
class LayerType:
    """
    A map layer: a name to choose from with a project, data without one.

    @ivar kinds: the layers that fit, of C{vector} (any, with or without
        geometry), C{point}, C{line}, C{polygon}, C{nogeometry}, C{raster},
        C{mesh}, C{pointcloud}, C{vectortile}, C{annotation}; empty for any.
    @ivar formats: the data formats read or written, the default first; of
        an output also the L{SERVICES} that show it.
    @ivar default: the name or id of a layer that QGIS takes by default.
    """

    kinds: tuple[str, ...]
    formats: tuple[Format, ...]
    default: str | None = None


#: The kinds of vector layers; that of mixed geometries is C{vector}.
VECTOR = frozenset(("vector", "point", "line", "polygon", "nogeometry"))


def fits(kinds: Sequence[str], kind: str) -> bool:
    """
    Whether a layer of that kind can be taken where those kinds are asked
    for (see L{LayerType.kinds}).
    """
    if not kinds or kind in kinds:
        return True
    # A layer of mixed geometries may have the ones that are asked for.
    isMixed = kind == "vector" and not VECTOR.isdisjoint({*kinds} - {"nogeometry"})
    return isMixed or (kind in VECTOR and "vector" in kinds)


DataType = LiteralType | ComplexType | BoundingBoxType | LayerType


@attrs.frozen
class InputDescription:
    """
    One input of a process.

    @ivar minOccurs: 0 where QGIS has a default or does not need a value.
    """

    identifier: str
    title: str
    data: DataType
    abstract: str = ""
    minOccurs: int = 1
    maxOccurs: int = 1
    metadata: tuple[Metadata, ...] = ()


@attrs.frozen
class OutputDescription:
    """One output of a process."""

    identifier: str
    title: str
    data: DataType
    abstract: str = ""
    metadata: tuple[Metadata, ...] = ()


@attrs.frozen
class ProcessDescription:
    """
    One process: a QGIS Processing algorithm.

    @ivar identifier: the algorithm's id, C{provider:name}.
    @ivar version: version of the provider, or C{1.0}.
    """

    identifier: str
    title: str
    version: str = "1.0"
    abstract: str = ""
    inputs: tuple[InputDescription, ...] = ()
    outputs: tuple[OutputDescription, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    keywords: tuple[str, ...] = ()

    def input(self, identifier: str) -> InputDescription | None:
        """The input of that name, or None."""
        return next((i for i in self.inputs if i.identifier == identifier), None)

    def output(self, identifier: str) -> OutputDescription | None:
        """The output of that name, or None."""
        return next((o for o in self.outputs if o.identifier == identifier), None)


@attrs.frozen
class Omission:
    """
    What is not published, and why.

    @ivar name: an algorithm's id, C{id parameter}, C{provider id},
        C{plugin title (folder)} or a file's path.
    """

    name: str
    reason: str


@attrs.frozen
class Catalogue:
    """All that a fork server publishes."""

    processes: tuple[ProcessDescription, ...]
    omitted: tuple[Omission, ...] = ()


@attrs.frozen
class FieldSummary:
    """
    An attribute of a vector layer.

    @ivar type: as in L{ProjectPart.fieldType}, or empty for another one.
    """

    name: str
    type: str = ""


@attrs.frozen
class LayerSummary:
    """
    A layer of a project.

    @ivar kind: as in L{LayerType.kinds}, the most special that fits.
    @ivar crs: authority id, C{EPSG:4326}.
    @ivar fields: a vector layer's attributes.
    @ivar bands: how many bands a raster layer has.
    @ivar groups: the names of a mesh layer's groups of datasets.
    """

    id: str
    name: str
    kind: str
    crs: str = ""
    title: str = ""
    valid: bool = True
    fields: tuple[FieldSummary, ...] = ()
    bands: int = 0
    groups: tuple[str, ...] = ()


@attrs.frozen
class ProjectSummary:
    """
    What DescribeProcess needs to know of a project.

    @ivar crs: authority id of the project's CRS.
    @ivar layouts: the names of the print layouts.
    @ivar themes: the names of the map themes.
    @ivar files: absolute paths of the local files that the layers are in,
        whether these are there or not.
    @ivar modified: for projects that are no files: changes with each saving.
    """

    title: str
    crs: str
    layers: tuple[LayerSummary, ...]
    layouts: tuple[str, ...] = ()
    themes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    modified: str = ""


# Requests


@attrs.frozen
class LiteralValue:
    """A value as text, with the unit that the client gave."""

    value: str
    dataType: str | None = None
    uom: str | None = None


@attrs.frozen
class ComplexValue:
    """
    Data that stands in the request itself.

    @ivar data: the text as sent; with C{format.encoding} C{base64} it is
        binary data in base64.
    @ivar format: what the client says it is; C{mimeType} may be empty.
    """

    data: str
    format: Format


@attrs.frozen
class FileValue:
    """
    Data in a file of the job.

    @ivar path: relative to the job directory, with C{/}.
    @ivar title: what to call it in a map or a document.
    """

    path: str
    format: Format
    title: str = ""


@attrs.frozen
class ReferenceValue:
    """
    Data that the server has to fetch (WPS 1.0.0, section 9.3.1, table 33).

    @ivar headers: names and values of further HTTP headers.
    @ivar maximumMegabytes: the cap that the input's description has.
    @ivar file: what was fetched; its format is the one that the client has
        said, or else the media type that came with the data.
    """

    href: str
    format: Format
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    bodyHref: str | None = None
    maximumMegabytes: int | None = None
    file: FileValue | None = None


@attrs.frozen
class BoundingBoxValue:
    """
    A rectangle as given: the axis order is that of the CRS as it is named.

    @ivar lower: the lower corner's coordinates.
    @ivar upper: the upper corner's coordinates.
    @ivar crs: any form: C{EPSG:4326}, C{urn:ogc:def:crs:EPSG::4326} … or
        None for the default of the input.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    crs: str | None = None


@attrs.frozen
class LayerValue:
    """
    A layer of the job's result project, to be had from a map service.

    @ivar layer: its name in the project, as the services know it.
    @ivar format: one of L{SERVICES}.
    """

    layer: str
    format: Format
    title: str = ""


InputValue = LiteralValue | ComplexValue | ReferenceValue | BoundingBoxValue | FileValue
OutputData = LiteralValue | BoundingBoxValue | FileValue | LayerValue


@attrs.frozen
class Input:
    """One occurrence of an input."""

    identifier: str
    value: InputValue
    title: str = ""
    abstract: str = ""


@attrs.frozen
class OutputRequest:
    """
    What a client wants of one output.

    @ivar format: the format asked for; None, or an empty C{mimeType}, for
        the default.
    """

    identifier: str
    format: Format | None = None
    uom: str | None = None
    asReference: bool = False
    title: str = ""
    abstract: str = ""


@attrs.frozen
class ExecuteRequest:
    """
    A request to run a process.

    @ivar outputs: the outputs wanted; empty for all.
    @ivar raw: the one output wanted is the answer, without a document.
    @ivar asynchronous: answer at once, the client will ask again.
    @ivar status: the client wants progress (WPS 1.0.0, C{status}).
    @ivar lineage: repeat inputs and output definitions in the answer.
    @ivar map: the project whose layers may be named, or None.
    @ivar timeout: seconds that a run may last, or None for the server's own.
    @ivar expire: seconds that results are kept, or None for the server's own.
    @ivar protocol: the name of the protocol package that parsed it.
    """

    processId: str
    inputs: tuple[Input, ...] = ()
    outputs: tuple[OutputRequest, ...] = ()
    raw: bool = False
    asynchronous: bool = False
    status: bool = False
    lineage: bool = False
    map: str | None = None
    timeout: int | None = None
    expire: int | None = None
    protocol: str = "wps-1.0.0"
    language: str = "en"

    @property
    def isComplete(self) -> bool:
        """No data is missing that has to be fetched."""
        return not any(
            isinstance(each.value, ReferenceValue) and each.value.file is None
            for each in self.inputs
        )


# Jobs and results


class State(enum.StrEnum):
    """The states of a job; see L{qgswps.jobs.lifecycle} for the moves."""

    ACCEPTED = "accepted"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISMISSED = "dismissed"

    @property
    def terminal(self) -> bool:
        """No further move leads out of it."""
        return self in (State.SUCCEEDED, State.FAILED, State.DISMISSED)


@attrs.frozen
class Job:
    """
    The record of a job.  Times are seconds since the epoch, UTC.

    @ivar server: the server instance that runs it.
    @ivar percent: 0 to 100, never going back.
    @ivar message: the last progress text, or what became of the job.
    @ivar faults: why it failed.
    @ivar signal: name of the signal that ended the worker, or None.
    @ivar peakMemory: largest resident size of the worker, in KiB.
    @ivar expires: when record and directory go.
    """

    id: str
    processId: str
    server: str
    created: float
    state: State = State.ACCEPTED
    processVersion: str = "1.0"
    processTitle: str = ""
    map: str | None = None
    asynchronous: bool = False
    protocol: str = "wps-1.0.0"
    realm: str | None = None
    timeout: int | None = None
    expire: int | None = None
    percent: float = 0.0
    message: str = ""
    faults: tuple[Fault, ...] = ()
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    pid: int | None = None
    signal: str | None = None
    peakMemory: int | None = None


@attrs.frozen
class ResultLayer:
    """
    A layer that a job has made, as it stands in the result project.

    @ivar output: the identifier of the output.
    @ivar name: its name in the project, unique there.
    @ivar kind: as in L{LayerType.kinds}, C{vector} or C{raster} ….
    @ivar path: of its data, relative to the job directory, with C{/}.
    @ivar provider: QGIS's name of what reads it: C{ogr}, C{gdal} ….
    @ivar style: path of a QML file relative to the job directory, or None.
    """

    output: str
    name: str
    kind: str
    path: str
    provider: str = "ogr"
    style: str | None = None


@attrs.frozen
class Result:
    """
    What a worker answers: outputs by their identifier, or faults.

    Written by the worker as C{result.json} in the job directory.

    @ivar layers: all layers that were made, in whatever form the outputs are.
    @ivar peakMemory: largest resident size of the worker so far, in KiB.
    """

    outputs: Mapping[str, OutputData] = attrs.field(factory=dict)
    faults: tuple[Fault, ...] = ()
    layers: tuple[ResultLayer, ...] = ()
    peakMemory: int | None = None


def resultProject(processId: str) -> str:
    """The name of a job's result project, a file in the job directory."""
    return re.sub(r"[^\w.-]", "_", processId) + ".qgs"


# Maps

#: The largest picture or coverage that maps give, in pixels a side.
LARGEST_PICTURE = 8192


@attrs.frozen
class MapRequest:
    """
    A request for QGIS Server.

    @ivar project: absolute path or URI of the project to serve.
    @ivar directory: absolute path of the job whose result project that is, or
        None for a source project.
    @ivar url: the public URL, query included, as documents should repeat it.
    @ivar headers: those that matter to QGIS Server.
    @ivar body: absolute path of a file with the body, or None.
    """

    project: str
    url: str
    directory: str | None = None
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: str | None = None


@attrs.frozen
class MapResponse:
    """
    What QGIS Server answers.

    @ivar body: absolute path of a file with the body; whoever gets this
        removes it.
    """

    status: int
    headers: Mapping[str, str]
    body: str


# What the server tells its other processes


@attrs.frozen
class Task:
    """
    What a worker has to do; C{task.json} in the job directory.

    @ivar request: checked against the description of its process; when a
        worker gets it, its references have been fetched.
    @ivar project: absolute path or URI of the project that C{request.map}
        means, or None.
    """

    request: ExecuteRequest
    project: str | None = None


@attrs.frozen
class SandboxSettings:
    """
    What workers are kept from; a limit of 0 is none.

    @ivar enabled: restrict what they read and write.
    @ivar readable: absolute paths of folders that all of them may read.
    @ivar writable: absolute paths of folders that all of them may write to.
    @ivar ports: the TCP ports that they may connect to; None for all.
    @ivar memory: of all processes of a job, and of each, in MiB.
    @ivar cpuTime: of a process, in seconds.
    @ivar fileSize: of a single file, in MiB.
    @ivar disk: of all files of a job, in MiB.
    @ivar openFiles: descriptors of a process.
    @ivar processes: of a job.
    @ivar jobs: how many run side by side.
    @ivar nice: how much others go first, 0 to 19.
    """

    enabled: bool = False
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    ports: tuple[int, ...] | None = None
    memory: int = 0
    cpuTime: int = 0
    fileSize: int = 0
    disk: int = 0
    openFiles: int = 0
    processes: int = 0
    jobs: int = 1
    nice: int = 0


@attrs.frozen
class WorkerSettings:
    """
    How a fork server is to start QGIS; a file named on its command line.

    @ivar catalogue: absolute path of the file to write the L{Catalogue} to.
    @ivar profile: absolute path of a folder for QGIS's own user profile.
    @ivar providersPath: folders with C{scripts/}, C{models/} and plugins.
    @ivar exposedProviders: ids of providers to publish; empty for all.
    @ivar defaultCRS: authority id, for jobs without a project.
    @ivar qgisSettings: QGIS's own settings, by key.
    @ivar maps: where references to map services lead: C{"here"}, to
        C{"another"} server, or C{"nowhere"}.
    @ivar authConfigs: ids of QGIS's authentication configurations that
        clients may use.
    @ivar vectorFormats: GDAL's names of further formats for vector results.
    @ivar rasterFormats: likewise for raster results.
    @ivar echo: whether to publish the process C{echo}.
    @ivar vectorExtension: of the format that vector results have by default;
        empty for ours.
    @ivar rasterExtension: likewise for raster results.
    @ivar adjustEllipsoid: result projects have the ellipsoid of their CRS.
    @ivar sandbox: what workers are kept from.
    """

    catalogue: str
    profile: str
    providersPath: tuple[str, ...] = ()
    exposedProviders: tuple[str, ...] = ()
    defaultCRS: str = "EPSG:4326"
    qgisSettings: Mapping[str, str] = attrs.field(factory=dict)
    maps: str = "here"
    authConfigs: tuple[str, ...] = ()
    vectorFormats: tuple[str, ...] = ()
    rasterFormats: tuple[str, ...] = ()
    echo: bool = False
    vectorExtension: str = ""
    rasterExtension: str = ""
    adjustEllipsoid: bool = False
    sandbox: SandboxSettings = SandboxSettings()
