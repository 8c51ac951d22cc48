"""Threads that OpenCV starts for a command."""

from __future__ import annotations


def limit_opencv_threads() -> None:
    """Let OpenCV, which does not see every limit of a container, start no more threads than it allows."""
    import cv2

    from edgeseg.runtime.host.processors import usable_cpus

    if (count := usable_cpus().count) < cv2.getNumThreads():
        cv2.setNumThreads(count)
