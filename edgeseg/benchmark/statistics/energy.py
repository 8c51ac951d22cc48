"""Energy that the machine says it has used, where it does."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

from edgeseg.runtime.host.health import HealthMonitor

if TYPE_CHECKING:
    from edgeseg.runtime.host.machine import Host

SAMPLE_S = 0.05


class RowEnergyMeter:
    """Counts joules; a thread reads often, for where there is no counter power has to be added up.

    Args:
        monitor: One that tells energy.
    """

    def __init__(self, monitor: HealthMonitor) -> None:
        self._monitor = monitor
        self._stop = Event()
        self._thread = Thread(target=self._poll, name="edgeseg-energy", daemon=True)
        self._thread.start()

    def joules(self) -> float:
        """Energy since the monitor was made."""
        return self._monitor.energy_j() or 0.0

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._monitor.energy_j()


def open_energy_meter(host: Host | None = None) -> RowEnergyMeter | None:
    """Find what tells of energy or power: a Jetson's sensors, an NVIDIA GPU, an Intel or AMD processor.

    Returns:
        None where nothing does, or not to this user: Linux shows a processor's counter to root alone.
    """
    monitor = HealthMonitor(host)
    return None if monitor.energy_j() is None else RowEnergyMeter(monitor)
