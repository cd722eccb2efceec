"""The response headers that tell the time and the server, as the machines in front of the service write them."""

from email.utils import formatdate


class Times:
    """The header lines that tell the time, remade at most once a millisecond."""

    def __init__(self) -> None:
        self._second = self._arrived = self._now = -1
        self._date = b""
        self._lines = b""

    def lines(self, arrived: float, now: float) -> bytes:
        """Return the lines for a request that came at ``arrived`` and is answered ``now``, in seconds since 1970."""
        start, end = int(arrived * 1000), int(now * 1000)
        if start != self._arrived or end != self._now:
            self._arrived, self._now = start, end
            if int(now) != self._second:
                self._second = int(now)
                self._date = formatdate(now, usegmt=True).encode()
            cost = max(0, end - start)
            self._lines = (
                b"server: nginx/1.24.0\r\ndate: %b\r\nreq-cost-time: %d\r\nreq-arrive-time: %d\r\nresp-start-time: %d\r\n"
                b"x-envoy-upstream-service-time: %d\r\n" % (self._date, cost, start, end, max(0, cost - 1))
            )
        return self._lines
