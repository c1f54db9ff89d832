"""Hosts on this machine joined by slow links: network namespaces, between each two of which a process carries IP packets from one TUN interface to
another and holds each for a delay.

The TCP at either end knows of the delay as on a real link: handshakes, acknowledgements and windows take their round trips. Nothing else is
limited. All of it lives in namespaces of this process's own and is gone with it. Linux, iproute2 and util-linux; as root, or where users may make namespaces.

    enter()                                    # first of all: this process goes on in namespaces of its own, as host "a"
    network = DelayedNetwork("abc", 0.005)
    network.popen("b", [...]), network.address("b", seen_from="a")
"""
import collections
import fcntl
import itertools
import multiprocessing
import os
import select
import socket
import struct
import subprocess
import sys
import time

INSIDE = "COMMISSURE_DELAYED_NETWORK"
MTU = 1460  # Google Cloud's
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001


def enter():
    if INSIDE in os.environ:
        subprocess.run("mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up", shell=True, check=True)
        return
    become_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", *become_root, "--net", "--mount", sys.executable, *sys.argv])


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN_NO_PI))
    return tun


def carry(ends, delay):
    """Packets from either end leave by the other, `delay` seconds after they came, in order."""
    held = [collections.deque(), collections.deque()]
    while True:
        due = min((queue[0][0] for queue in held if queue), default=None)
        select.select(ends, [], [], None if due is None else max(0.0, due - time.monotonic()))
        for source, queue in zip(ends, held):
            try:
                while True:
                    queue.append((time.monotonic() + delay, os.read(source, 65536)))
            except BlockingIOError:
                pass
        now = time.monotonic()
        for target, queue in zip(reversed(ends), held):
            while queue and queue[0][0] <= now:
                os.write(target, queue.popleft()[1])


class DelayedNetwork:
    """Every two of `hosts` are joined, the first one is this process's own; `delay` in seconds each way."""

    def __init__(self, hosts, delay):
        self.home, self.addresses, self.carriers = hosts[0], {}, []
        for host in hosts[1:]:
            self.ip("netns", "add", host)
            self.ip("-n", host, "link", "set", "lo", "up")
        for number, pair in enumerate(itertools.combinations(hosts, 2)):
            ends = [self.join(host, peer, f"10.77.{number}.{side}") for side, (host, peer) in enumerate([pair, pair[::-1]], 1)]
            # Forked: it needs nothing of this process but the two interfaces.
            self.carriers.append(multiprocessing.get_context("fork").Process(target=carry, args=(ends, delay), daemon=True))
            self.carriers[-1].start()
            for end in ends:
                os.close(end)

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True)

    def join(self, host, peer, address):
        """Host's end of the link to `peer`, as the file that its packets are read from."""
        name, inside = f"{host}-{peer}", []
        tun = open_tun(name)
        if host != self.home:
            self.ip("link", "set", name, "netns", host)
            inside = ["-n", host]
        self.ip(*inside, "address", "add", f"{address}/30", "dev", name)
        self.ip(*inside, "link", "set", name, "mtu", str(MTU), "up")
        self.addresses[host, peer] = address
        return tun

    def address(self, host, seen_from):
        return self.addresses[host, seen_from]

    def popen(self, host, command, **options):
        inside = [] if host == self.home else ["nsenter", f"--net=/run/netns/{host}"]
        return subprocess.Popen([*inside, *command], **options)

    def start_echo(self, host, port):
        return self.popen(host, [sys.executable, __file__, str(port)])

    def close(self):
        for carrier in self.carriers:
            carrier.terminate()
            carrier.join()
        for host in {host for host, _ in self.addresses} - {self.home}:
            self.ip("netns", "delete", host)


def echo_forever(port):
    """One connection at a time."""
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while piece := connection.recv(64):
            connection.sendall(piece)


if __name__ == "__main__":
    echo_forever(int(sys.argv[1]))
