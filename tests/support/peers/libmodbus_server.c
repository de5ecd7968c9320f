/* A Modbus TCP server that was not written here: libmodbus answers, this only feeds it. The same
 * values as pymodbus_server.py. Prints its port; serves one client after the other; ends by itself.
 * usage: libmodbus_server [seconds], 120 when left out. */
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words) {
    enum { COUNT = 1000 };
    (void)alarm(count > 1 ? (unsigned)atoi(words[1]) : 120);
    modbus_t *bus = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(COUNT, COUNT, COUNT, COUNT);
    if (bus == NULL || map == NULL) { return 1; }
    for (int i = 0; i < COUNT; i++) {
        map->tab_bits[i] = i % 2 == 1;
        map->tab_input_bits[i] = i % 3 == 0;
        map->tab_registers[i] = (uint16_t)(i * 2);
        map->tab_input_registers[i] = (uint16_t)(i + 1000);
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, bytes) != 0 || listen(listener, 4) != 0) {
        return 1;
    }
    (void)getsockname(listener, (struct sockaddr *)&address, &bytes);
    printf("%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(bus, &listener) < 0) { return 1; }
        for (;;) {
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            int got = modbus_receive(bus, query);
            if (got < 0 || modbus_reply(bus, query, got, map) < 0) { break; }
        }
        modbus_close(bus);
    }
}
