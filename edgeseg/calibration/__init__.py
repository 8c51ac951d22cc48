"""Choose calibration images and measure the value ranges that INT8 needs, as a data file."""
