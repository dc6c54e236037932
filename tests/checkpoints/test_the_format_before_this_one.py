"""What the release before this one wrote is read, byte for byte as it wrote it.

When the format changes again, add what this one writes and drop what is two behind.
"""

from __future__ import annotations

import base64
from pathlib import Path

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import READABLE, SCHEMA_VERSION, Manifest
from stream_infer.dataplane.batch import Partition
from stream_infer.dataplane.checkpointing import Checkpointer
from stream_infer.dataplane.offsets import StartPoint
from stream_infer.dataplane.state import StageState
from support.checkpoints import PLAN, state_of

MANIFEST_1 = (
    b'{"sha256":"3e3a76d0b62736f5e93309cf284eda718e96e17ef99c30d99ef252ab83659619","manifest":'
    b'{"id":"0123456789abcdef0123456789abcdef","schema_version":1,"pipeline":"payments","stage'
    b'":"card","topic":"payments","partition":0,"offset":60,"declared_start":0,"fingerprint":"'
    b'26221b91ef7d4cd1","created_ms":7,"keys":5,"entries":60,"bytes":1100,"content_sha256":"e1'
    b'd8db5919259a7253a77962cfb20c17fd1dc4b59d4926e21da0b5eb3a0408c7","chunks":[[0,1100,"2db26'
    b'1e45681378775ccbbe55605a43d5890aa9ae25df9ce8ba266356a6fa52c"]],"mark":[59,59,"70ce871f8a'
    b'3d3fb449bc3c3ace6547cef02dfc74ffe48d912532a724bfdbe5b9"]}}'
)
CHUNKS_1 = base64.b64decode(
    "U0lDUAEBASNFZ4mrze8BI0VniavN7wAAAAD3CgAAXhkNn62Z7L630mTUQu/6Lw5N/iWAUhw/YlTI+LtsqikotS/9"
    "YPcJJSAAhnvoQ1AY1xqpq/wDxStglkeBYyWiCgCOfjelBKWukOh/QlBT5Kt1QimSJK+o3BVP/rmn08iy9R8uC0tr"
    "J1AXGHOYkoOG0VLAAO4A7QD379+/f//+/fv379+/f//+/fv379+/f//+/fv379+/77IEstRb+i31llAMk3l2Hf6a"
    "305DTdteMwZxDY5Do9Fo9B15uESJYSE13a3J5Npsx52a7tZe7nlsjrtSqVQqoUTS6BA1bbZrDbUYjqnJ6YpV6pa3"
    "XLg0O6z+crPD6q+zX+bt2uU6dbVd9TWK64rFZrF1W3ZdPpu3dVfdmB3e1mWzTT7LSZV/X9wxmPuWFI+/drkGi+tu"
    "a6+bubwlu434bxX2jeIjuDCJyYDBA74TJZxd6MCgQQo1XIJaIogZeSqy6Yhz1KiiuGgSskCq4+pq8VENtkGOsUmd"
    "D7CggToT1rQ2PMsIWEUI2k0d4i1itWc1SOy+hVfxy5DnHQ4+OiTsjrhBjCpzMwvYVRtQ00RkFT6YnqwsQCVNQGjM"
    "R7A5h4ECTfZ4yn60XE25KQp/SthdHUbBUUG01SUhzELjUaNXrI+chqLBJpc+5HmBDlpBnMogAh5ArKs+8ToLM2EC"
    "Rs82CChYYpawGJdQuN1k9wZkMWlj3HFhbvtc9LGB/QGeSkZ3ErwpuTek2ICmee2tF+4Bc2ZFtAr8kd0xHqH74CSQ"
    "sIefF1V0pu6FCyv3KBKQjsbTAEElTpqKnvmwjwPVUgsbKIwwjF9aEWGREySqWgsLiGB4Tpk21p6CJGoNloqAa8og"
    "HrRJQpJbyOirjFfKGiJ6YMYkaKKSDqmMI1gVskVoIRYTDavEXrhk0jvMRO6Ahvf1cuBIVeUJpnXSkJ0jm2o9gqe6"
    "BM5EbFaNV9cEVj8pGbBpc1J44RV+M1Y6OCKwgqD210OxieVsA6OJ8IbiIJLZWvXK2YvnuAdpdOdsOp87frXgW5WV"
    "CqYo5wBsyZsYnTi4lAlz+yDImZW1EAISKOxuecyty3HXHnulUy+90Hvu/M1lvvwv4E9nevVGHzrQea7zmjPvcqln"
    "f33Sj070oAN48zaPufJQb7r1SC869D5/Huczf3nyUXf60gN8+uh/vvOc0xzmLT5c8uz6DN6CwT29NeNpG1xzbcFw"
    "/7VYJapUqMd5I7O8gCemqtEQEI9ODdNFKntNOiIKAtC0iVFCNVmRiqA+T5yZl2SU01KAafRnJ4cGpsUwmWeLx1/z"
    "1x6T5aJjYTcPIVOmTe42IKCDFKTQATYr2B3MEOnSMdq2J/sqYEFExtRevN12s9vWVLvbblur2m673Zpqu91ta6rd"
    "bbetVW233W5Ntd3utttud9ttt7tt04XBwrUuvfR5Gd9gfoiyY4nIaJayBgU="
)


async def test_a_checkpoint_of_version_1_is_restored(tmp_path: Path) -> None:
    assert READABLE == (SCHEMA_VERSION - 1, SCHEMA_VERSION) == (1, 2)
    folder = tmp_path / "payments" / "card" / "payments-0"
    folder.mkdir(parents=True)
    name = f"{60:020d}-0123456789abcdef0123456789abcdef"
    (folder / f"{name}.json").write_bytes(MANIFEST_1)
    (folder / f"{name}.chunks").write_bytes(CHUNKS_1)
    of = Checkpointer(FolderStore(tmp_path, "payments"), "payments")
    [found] = await of.store.found()
    assert isinstance(found, Manifest)
    assert (found.schema_version, found.base, found.skips) == (1, None, ())
    at = StartPoint(0, 0, 80, must_commit=False, end=80)
    restored = await of.newest(Partition("payments", 0), "card", at, lambda: StageState(PLAN))
    assert restored is not None
    assert restored.offset == 60
    assert restored.state.snapshot() == state_of(60, 5).snapshot()
