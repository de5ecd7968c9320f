/* The file of a unix socket: made with its mode, never taken from a server that listens, removed
 * only while it is ours. Thread: any. */
#ifndef UNIX_SOCKET_H
#define UNIX_SOCKET_H

#include <stdint.h>
#include <sys/un.h>

/* Zeroed: none. */
typedef struct {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    uint64_t device, inode;
} unix_file_t;

/* A bound socket whose new file has the mode; one that nobody has open any more makes room. A
 * descriptor, or libuv's error: UV_EADDRINUSE somebody listens there, UV_ENOTSOCK another file is
 * in the way, UV_ENOTDIR its folder is not there. */
int unix_socket_bind(unix_file_t *file, const char *path, unsigned mode);
/* Removes the file if it is still the same. Accepts a zeroed one. */
void unix_socket_remove(unix_file_t *file);

#endif
