#include "unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

/* 0 when the path is a socket that nobody has open any more. Asked with a socket of another type: a
 * stream would be a client that the one who listens has to accept. */
static int check_stale(const struct sockaddr_un *where) {
    struct stat status;
    if (lstat(where->sun_path, &status) == 0 && !S_ISSOCK(status.st_mode)) { return UV_ENOTSOCK; }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { return uv_translate_sys_error(errno); }
    int rc = connect(fd, (const struct sockaddr *)where, sizeof *where);
    rc = rc != 0 && errno == ECONNREFUSED ? 0 : UV_EADDRINUSE;
    (void)close(fd);
    return rc;
}

/* Two servers that start at once must not each remove the other's file: whoever replaces one holds
 * the folder locked. -1 when somebody else does. */
static int lock_folder(const char *path) {
    char text[sizeof(((struct sockaddr_un *)0)->sun_path)];
    (void)snprintf(text, sizeof text, "%s", path);
    int fd = open(dirname(text), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static int bind_to(int fd, const struct sockaddr_un *where) {
    if (bind(fd, (const struct sockaddr *)where, sizeof *where) == 0) { return 0; }
    return errno == ENOENT ? UV_ENOTDIR : uv_translate_sys_error(errno);
}

static int replace_stale(int fd, const struct sockaddr_un *where) {
    int lock = lock_folder(where->sun_path);
    if (lock < 0) { return UV_EADDRINUSE; }
    int rc = check_stale(where);
    if (rc == 0) {
        (void)unlink(where->sun_path);
        rc = bind_to(fd, where);
    }
    (void)close(lock);
    return rc;
}

/* bind makes the file with the mode of the socket less the umask, so that it is never open to more
 * than it should; then it gets the rest. */
static int bind_with_mode(int fd, const struct sockaddr_un *where, unsigned mode) {
    if (fchmod(fd, mode) != 0) { return uv_translate_sys_error(errno); }
    int rc = bind_to(fd, where);
    if (rc == UV_EADDRINUSE) { rc = replace_stale(fd, where); }
    if (rc == 0 && chmod(where->sun_path, mode) != 0) { rc = uv_translate_sys_error(errno); }
    return rc;
}

int unix_socket_bind(unix_file_t *file, const char *path, unsigned mode) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    struct stat status;
    *file = (unix_file_t){0};
    if (strlen(path) >= sizeof where.sun_path) { return UV_ENAMETOOLONG; }
    (void)snprintf(where.sun_path, sizeof where.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { return uv_translate_sys_error(errno); }
    int rc = bind_with_mode(fd, &where, mode);
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    if (lstat(path, &status) == 0) {
        memcpy(file->path, where.sun_path, sizeof file->path);
        file->device = (uint64_t)status.st_dev;
        file->inode = (uint64_t)status.st_ino;
    }
    return fd;
}

void unix_socket_remove(unix_file_t *file) {
    struct stat status;
    bool ours = file->path[0] != '\0' && lstat(file->path, &status) == 0 &&
                (uint64_t)status.st_dev == file->device && (uint64_t)status.st_ino == file->inode;
    if (ours) { (void)unlink(file->path); }
    file->path[0] = '\0';
}
