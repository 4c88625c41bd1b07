"""
What expressions of clients may not say.

QGIS's expressions can ask for the environment, for files, and for where the
data of layers is.  That is all right for who has written a project; a client
has not.
"""

from __future__ import annotations

import re
from typing import Any

#: Functions that ask for what is beside the data, or run a text that nobody
#: has looked at.
_FUNCTIONS = frozenset(
    {
        "base_file_name",
        "decode_uri",
        "env",
        "eval",
        "eval_template",
        "exif",
        "exif_geotag",
        "file_exists",
        "file_name",
        "file_path",
        "file_size",
        "file_suffix",
        "is_directory",
        "is_file",
        "layer_property",
        "load_layer",
        "mime_type",
        "raster_attributes",
        "sqlite_fetch_and_increment",
    }
)

#: Variables that tell of the server and of where things lie.
_VARIABLES = re.compile(r"project_(path|folder|home)|user_.*|qgis_os_.*|layer_source")


def forbidden(expression: Any) -> str | None:
    """
    What of an expression a client may not use; None if nothing.

    @param expression: a C{QgsExpression} that could be parsed.
    """
    for name in sorted(expression.referencedFunctions()):
        if name in _FUNCTIONS:
            return f"the function {name}"
    for name in sorted(expression.referencedVariables()):
        if not name:
            return "variables whose name is computed"
        if _VARIABLES.fullmatch(name):
            return f"the variable @{name}"
    return None
