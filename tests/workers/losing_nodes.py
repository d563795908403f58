"""A Ray cluster of two nodes, one of which is lost as soon as both have begun to work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Losing:
    """The cluster's address, and whether its second node is lost."""

    def __init__(self, address: str) -> None:
        self.address, self.lost = address, False


@contextmanager
def losing_a_node(nodes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Losing]:
    """Run two nodes with a processor each, and end the second without a word when both are at work.

    Args:
        nodes: a folder in which actors leave the names of their nodes.
        monkeypatch: watches through `ray.wait`, which the pool calls again and again.
    """
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        real, found = ray.wait, Losing(cluster.address)

        def losing(*args, **kwargs):
            if not found.lost and len(list(nodes.iterdir())) == 2:
                cluster.remove_node(second, allow_graceful=False)
                found.lost = True
            return real(*args, **kwargs)

        monkeypatch.setattr(ray, "wait", losing)
        yield found
    finally:
        cluster.shutdown()
