"""Several worker processes under one that starts them, and finds the record that kills them.

backoff    how long to wait before a process is started again             (pure)
endings    what the way in which a process ended means                    (pure)
ledger     which ranges of a log crashes have in common                   (pure)
trial      what to try next to find the record that kills                 (pure)
member     what a child is told, and how it notices that its parent died
child      one child process: its start, what it says, its end
ports      a web port for each
gate       where a replacement waits for its turn
replacing  replaces processes one after the other
processes  the supervisor itself
probe      the throw-away child that goes through a suspect range
verdict    writes the dead letter of a poison record, and its skip
"""
