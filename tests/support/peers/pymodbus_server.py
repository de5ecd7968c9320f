# A Modbus TCP server that was not written here: python3-pymodbus 3.0 of Debian 12. Prints its port.
# Values: coil i on when i is odd, discrete input i on when i % 3 == 0, holding register i = i * 2,
# input register i = i + 1000. Ends by itself after two minutes.
import asyncio
import socket

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartAsyncTcpServer


def block(value):
    return ModbusSequentialDataBlock(0, [value(i) for i in range(1000)])


async def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ModbusSlaveContext(
        co=block(lambda i: i % 2 == 1), di=block(lambda i: i % 3 == 0),
        hr=block(lambda i: i * 2), ir=block(lambda i: i + 1000), zero_mode=True)
    server = asyncio.ensure_future(
        StartAsyncTcpServer(context=ModbusServerContext(slaves=store, single=True), address=("127.0.0.1", port)))
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    print(port, flush=True)
    await asyncio.sleep(120)
    server.cancel()


asyncio.run(main())
