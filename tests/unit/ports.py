"""The engine's ports in memory: what `execute_run` is given where there is no database."""


class MemorySink:
    """A log in memory."""

    def __init__(self):
        self.lines = []

    def write(self, *, source, level, text):
        self.lines.append((source, level, text))

    def flush(self):
        pass

    @property
    def text(self):
        """All lines as one text."""
        return "\n".join(text for _, _, text in self.lines)


class MemoryStates:
    """States in memory."""

    def __init__(self, error=None):
        self.saved = []
        self.kinds = []  # whether each was partial
        self.error = error

    def save(self, *, state, epoch, sequence, is_partial=False):
        if self.error:
            raise self.error
        self.saved.append((state, epoch, sequence))
        self.kinds.append(is_partial)


class MemoryControl:
    """Events in memory; a stop after some polls."""

    def __init__(self, stop=None, after=0):
        self.events = []
        self.polls = 0
        self._stop, self._after = stop, after

    def poll(self):
        self.polls += 1
        return self._stop if self._stop and self.polls > self._after else None

    def progress(self, event):
        self.events.append(dict(event))

    def steps(self):
        """The last event of each step."""
        return {event["name"]: event for event in self.events if event["event"] == "step"}

    def streams(self):
        """What is known of each stream at the end."""
        found: dict = {}
        for event in self.events:
            if event["event"] == "stream":
                found[event["stream"]] = {**found.get(event["stream"], {}), **event}
        return found
