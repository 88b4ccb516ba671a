#!/usr/bin/env python3
"""In the guest: attaches a block device to a server of the NBD protocol, whose handshake is left out. Ends with the device.

    attach.py ADDRESS PORT DEVICE
"""
import fcntl
import os
import socket
import struct
import sys

# linux/nbd.h
SET_SOCK, SET_BLKSIZE, DO_IT, SET_SIZE_BLOCKS, SET_TIMEOUT, SET_FLAGS = 0xab00, 0xab01, 0xab03, 0xab07, 0xab09, 0xab0a
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
SECTOR = 512


def main():
    address, port, path = sys.argv[1:]
    with socket.create_connection((address, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size, = struct.unpack(">Q", connection.recv(8, socket.MSG_WAITALL))
        device = os.open(path, os.O_RDWR)
        fcntl.ioctl(device, SET_BLKSIZE, SECTOR)
        fcntl.ioctl(device, SET_SIZE_BLOCKS, size // SECTOR)
        fcntl.ioctl(device, SET_TIMEOUT, 0)
        fcntl.ioctl(device, SET_FLAGS, HAS_FLAGS | SEND_FLUSH | SEND_FUA)
        fcntl.ioctl(device, SET_SOCK, connection.fileno())
        fcntl.ioctl(device, DO_IT)


if __name__ == "__main__":
    main()
