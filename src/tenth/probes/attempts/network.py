"""Attempts at the network: sockets of every family, and ways around them."""

from __future__ import annotations

import ctypes
import socket
from typing import Any

from tenth.probes.attempts.means import Facts, call


def _greet(family: int, kind: int, address: Any, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol) as one:
        one.settimeout(1)
        one.connect(address)
        one.send(b"out")
        return f"spoke to {address!r}"


def connect_by_tcp(facts: Facts) -> str:
    return _greet(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", facts["tcp"]))


def connect_by_tcp_over_ipv6(facts: Facts) -> str:
    return _greet(socket.AF_INET6, socket.SOCK_STREAM, ("::1", facts["tcp6"]))


def connect_by_multipath_tcp(facts: Facts) -> str:
    return _greet(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", facts["tcp"]), 262)


def send_by_udp(facts: Facts) -> str:
    return _greet(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", facts["udp"]))


def connect_to_the_world(_: Facts) -> str:
    return _greet(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53))


def open_a_raw_socket(_: Facts) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)


def open_a_packet_socket(_: Facts) -> object:
    return socket.socket(17, socket.SOCK_RAW, 0x0300)


def talk_netlink(_: Facts) -> object:
    one = socket.socket(16, socket.SOCK_RAW, 0)
    one.bind((0, 0))
    return one


def open_a_vsock(facts: Facts) -> object:
    one = socket.socket(40, socket.SOCK_STREAM)
    one.settimeout(1)
    one.connect((2, facts["tcp"]))
    return one


def use_the_crypto_sockets_of_the_kernel(_: Facts) -> object:
    return socket.socket(38, socket.SOCK_SEQPACKET)


def open_a_bluetooth_socket(_: Facts) -> object:
    return socket.socket(31, socket.SOCK_RAW, 1)


def connect_to_a_unix_socket_of_the_host(facts: Facts) -> str:
    return _greet(socket.AF_UNIX, socket.SOCK_STREAM, facts["unix"])


def send_to_a_unix_datagram_socket_of_the_host(facts: Facts) -> str:
    try:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        one = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]
    one.sendto(b"out", facts["unix_datagram"])
    return "sent"


def connect_to_an_abstract_socket_of_the_host(facts: Facts) -> str:
    return _greet(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + facts["abstract"])


def submit_to_io_uring(_: Facts) -> object:
    return call((425, 425), 1, ctypes.create_string_buffer(120))
