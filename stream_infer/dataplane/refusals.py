"""What takes the place of outputs that Kafka refuses for good: a dead letter, at last a stub."""

from __future__ import annotations

from collections.abc import Sequence

from stream_infer.dataplane.batch import BadRow, Partition, RecordBatch
from stream_infer.dataplane.counters import Counters
from stream_infer.dataplane.outputs import Outputs, Refused
from stream_infer.dataplane.together import StageWork
from stream_infer.errors import BrokerError

OUTPUT_REFUSED = "output_refused"


class Refusals:
    """The refused outputs of one step.

    work      of the stage, for its side topics and its meter
    batch     the input that the outputs come from
    bad       rows of it that are dead letters already
    counters  where dead letters are counted
    """

    def __init__(
        self, work: StageWork, batch: RecordBatch, bad: Sequence[BadRow], counters: Counters
    ) -> None:
        self._work = work
        self._batch = batch
        self._causes = {row.row: row for row in bad}
        self._counters = counters
        self._stubs: set[tuple[str, int]] = set()

    def replace(self, refused: Sequence[Refused]) -> Outputs:
        """Return dead letters of the input, and stubs for dead letters that were refused.

        Raises BrokerError when even a stub is: nothing is ever dropped unseen.
        """
        outputs = Outputs()
        stage = self._work.stage
        for destination, writes, answer in refused:
            for row in writes.rows:
                if (destination.topic, row) in self._stubs:
                    raise _stub_refused(self._batch.source, destination, answer)
                if stage.side.owns(destination.topic):
                    cause = self._causes.get(row)
                    topic = destination.topic
                    stage.side.stub(outputs, self._batch, cause, row, topic, stage.name)
                    self._stubs.add((topic, row))
                    continue
                message = f"Topic {destination.topic} refused the output: {answer}."
                cause = self._causes[row] = BadRow(row, OUTPUT_REFUSED, message)
                stage.side.dead_letter(outputs, self._batch, cause, stage.name)
                self._counters.dead_letters += 1
                self._work.meter.dead_letter(OUTPUT_REFUSED)
        return outputs


def _stub_refused(source: Partition, destination: Partition, answer: str) -> BrokerError:
    return BrokerError(
        "stub_refused",
        f"Topic {destination.topic} refuses even the stub of a record of {source}: {answer}.",
        f"Raise max.message.bytes of {destination.topic} to twice that of the input topic.",
        topic=destination.topic,
        partition=source.partition,
    )
