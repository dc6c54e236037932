"""What an event is on the wire, and its way from bytes to columns and back.

    bytes of a user's topic  ── decode ──▶ EventColumns ── scored ────▶ bytes of the output topic
                                             ▲      │
                              internal ──────┘      └──── internal ──▶ bytes between stages

Pure: bytes, columns and header lists only; nothing here knows Kafka.
"""
