"""What video files say of themselves, and OpenCV does not tell or gets wrong."""
