/* The file of a unix socket: made with its mode, never taken from a server that listens, removed
 * only while it is ours. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether the path is a socket that nobody has open any more. Asked with a socket of another type:
 * a stream would be a client that the one who listens has to accept. */
static bool is_stale(const struct sockaddr_un *where) {
    struct stat file;
    if (lstat(where->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode)) { return false; }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { return false; }
    int rc = connect(fd, (const struct sockaddr *)where, sizeof *where);
    bool stale = rc != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return stale;
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

static int replace_stale(int fd, const struct sockaddr_un *where) {
    int lock = lock_folder(where->sun_path);
    int rc = -1;
    errno = EADDRINUSE;
    if (lock >= 0 && is_stale(where)) {
        (void)unlink(where->sun_path);
        rc = bind(fd, (const struct sockaddr *)where, sizeof *where);
    } else {
        errno = EADDRINUSE;
    }
    int error = errno;
    if (lock >= 0) { (void)close(lock); }
    errno = error;
    return rc;
}

int listener_bind_unix(const char *path, unsigned mode) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof where.sun_path) { return UV_ENAMETOOLONG; }
    (void)snprintf(where.sun_path, sizeof where.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { return uv_translate_sys_error(errno); }
    /* bind makes the file with the mode of the socket less the umask, so that it is never open to
     * more than it should; then it gets the rest */
    int rc = fchmod(fd, mode);
    if (rc == 0) { rc = bind(fd, (const struct sockaddr *)&where, sizeof where); }
    if (rc != 0 && errno == EADDRINUSE) { rc = replace_stale(fd, &where); }
    if (rc == 0) { rc = chmod(path, mode); }
    if (rc != 0) {
        int error = uv_translate_sys_error(errno);
        (void)close(fd);
        return error;
    }
    return fd;
}

void listener_note_file(listener_t *listener, const char *path) {
    struct stat file;
    if (lstat(path, &file) != 0) { return; }
    (void)snprintf(listener->path, sizeof listener->path, "%s", path);
    listener->device = (uint64_t)file.st_dev;
    listener->inode = (uint64_t)file.st_ino;
}

void listener_remove_file(listener_t *listener) {
    struct stat file;
    bool ours = listener->path[0] != '\0' && lstat(listener->path, &file) == 0 &&
                (uint64_t)file.st_dev == listener->device &&
                (uint64_t)file.st_ino == listener->inode;
    if (ours) { (void)unlink(listener->path); }
    listener->path[0] = '\0';
}
