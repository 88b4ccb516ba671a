"""How long a program waits for the file server: creates and removes a file, looks up another one, again and again. Writes
what took long to options.slow, one line each: when it began (seconds since 1970), how long it took, what it was."""
import os
import time

SLOW_SECONDS = 0.03


def main(options):
    calls_of = {
        "create": lambda name: os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)),
        "remove": os.unlink,
        "lookup": os.path.exists,
    }
    longest, calls, number = 0.0, 0, 0
    with open(options.slow, "w", encoding="ascii") as slow:
        while number == 0 or not options.stopped():
            number += 1
            for what, call in calls_of.items():
                begin, begin_steady = time.time(), time.monotonic()
                call(f"ping{number}")
                took = time.monotonic() - begin_steady
                calls += 1
                longest = max(longest, took)
                if took > SLOW_SECONDS:
                    slow.write(f"{begin:.3f} {took:.3f} {what}\n")
                    slow.flush()
            time.sleep(0.01)
    return f"{calls} calls, the longest took {longest * 1000:.0f} ms"
