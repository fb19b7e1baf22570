"""The peers, in the order of the tables."""

from __future__ import annotations

from typing import Final

from benchmarks.peer import Peer
from benchmarks.peers.chdb_peer import ChdbPeer
from benchmarks.peers.duckdb_peer import DuckdbPeer
from benchmarks.peers.klineagg_peer import KlineaggPeer
from benchmarks.peers.native_peer import NativePeer
from benchmarks.peers.nautilus_peer import NautilusPeer
from benchmarks.peers.numba_peer import NumbaPeer
from benchmarks.peers.pandas_peer import PandasPeer
from benchmarks.peers.polars_peer import PolarsPeer
from benchmarks.peers.questdb_peer import QuestdbPeer
from benchmarks.peers.rust_peer import RustPeer

SUBJECT: Final = "klineagg"


def all_peers() -> dict[str, Peer]:
    """Every peer by name; whether it can run here, its ``version()`` tells."""
    peers: list[Peer] = [
        KlineaggPeer(),
        DuckdbPeer(cascade=False),
        DuckdbPeer(cascade=True),
        PolarsPeer(cascade=False),
        PolarsPeer(cascade=True),
        ChdbPeer(cascade=False),
        ChdbPeer(cascade=True),
        QuestdbPeer(),
        PandasPeer(cascade=False),
        PandasPeer(cascade=True),
        NumbaPeer(),
        RustPeer("trade_aggregation"),
        RustPeer("tickbar"),
        NautilusPeer(),
        NativePeer("direct"),
        NativePeer("rollup"),
        NativePeer("exact"),
        NativePeer("read"),
    ]
    return {peer.name: peer for peer in peers}
