"""
How qgswps is packaged.

Not all of it can stand in pyproject.toml: the folder of Twisted's plugins is
a package that belongs to another project, so that no discovery finds it.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The version, without importing the package and what it needs."""
    text = (HERE / "qgswps" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("qgswps/__init__.py has no __version__")
    return found[1]


setup(
    name="qgswps",
    version=version(),
    description="Web Processing Service for QGIS, on Twisted",
    license="GPL-2.0-or-later",
    license_files=["LICENSE"],
    classifiers=[
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: GIS",
    ],
    python_requires=">=3.11",
    install_requires=[
        # With tls it brings pyOpenSSL, service_identity and idna.
        "Twisted[tls]>=22.4",
        "attrs>=22.2",
        "cattrs>=22.2",
        "PyYAML",
        "lxml",
        "prometheus-client",
        "txredisapi>=1.4.7",
        "zope.interface",
    ],
    packages=[*find_packages(include=["qgswps", "qgswps.*"]), "twisted.plugins"],
    package_data={"qgswps": ["py.typed", "data/*.yml"]},
    # Twisted looks for plugins in folders, and not in archives.
    zip_safe=False,
)
