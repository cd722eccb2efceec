"""Floor 3c: what a gateway needs beside talk: keys, queue, logs, clock, the tokens' place on disk."""
