"""9P transport (Linux net/9p/trans_virtio.c; device ID 9): a folder of the host's."""

from __future__ import annotations

from rvvm.py.devices.virtio.function import Function
from rvvm.py.devices.virtio.queue import Queue
from rvvm.py.devices.virtio.ram import ProtocolError
from rvvm.py.ninep import Malformed, Server
from rvvm.py.register import Register, Registers

MOUNT_TAG = 1 << 0


class SharedFolder(Function, kind=9):
    """One request after the other; the tag is what the guest mounts it by."""

    tag_len = Register(0x0, width=2, access="r", stored=False)
    tag = Registers(0x2, count="tag_count", width=1, access="r", stored=False)

    def __init__(self, server: Server, tag: str) -> None:
        self.server = server
        self.name = tag.encode()
        self.tag_count = len(self.name)
        super().__init__(queues=1, features=MOUNT_TAG)

    def on_tag_len_read(self) -> int:
        return self.tag_count

    def on_tag_read(self, index: int) -> int:
        return self.name[index]

    def serve(self, queue: Queue) -> None:
        for chain in queue:
            try:
                written = self.server.handle(chain.readable, chain.writable)
            except Malformed as error:
                raise ProtocolError(str(error)) from None
            queue.push(chain, written)

    def close(self) -> None:
        self.server.close()

    def twin(self) -> SharedFolder:
        root = self.server.root
        return SharedFolder(Server(root.again() if root is not None else None), self.name.decode())

    def restored(self) -> None:
        """Files that are open on the host are no state: the guest has to mount it anew."""
        self.server.reset()
