"""Where the data is that both sides work on: a square in UTM 32 N."""

EPSG = 32632

#: The lower left corner, and the side, in metres.
LEFT, BOTTOM, SIZE = 500_000, 5_200_000, 10_000
