"""What plain QGIS makes of the whole toolbox, to set the server against."""
