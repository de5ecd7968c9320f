#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"

enum { FILE_MODE = 0644, FOLDER_MODE = 0755, READ_BYTES = 65536 };

/* ---- on the pool: nothing but the job itself is touched -------------------------------------- */

/* Opens a regular file; devices and pipes would block. -1 with the job's error. */
static int open_regular(file_job_t *file, int flags) {
    int fd = open(file->path, flags | O_CLOEXEC | O_NONBLOCK, FILE_MODE);
    if (fd < 0 || fstat(fd, &file->info) != 0) {
        file->error = errno;
    } else if (S_ISDIR(file->info.st_mode)) {
        file->error = EISDIR;
    } else if (!S_ISREG(file->info.st_mode)) {
        file->odd_kind = true;
        file->error = EINVAL;
    }
    if (fd >= 0 && file->error != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* Reads to the end, whatever size the file claims to have. */
static void do_read(file_job_t *file) {
    int fd = open_regular(file, O_RDONLY);
    if (fd < 0) { return; }
    size_t capacity = file->info.st_size > 0 ? (size_t)file->info.st_size + 1 : READ_BYTES;
    if (capacity > file->limit + 1) { capacity = file->limit + 1; }
    file->data = memory_zeroed(capacity);
    while (!atomic_load(&file->stopped)) {
        ssize_t got = read(fd, file->data + file->bytes, capacity - file->bytes);
        if (got < 0 && errno == EINTR) { continue; }
        if (got < 0) { file->error = errno; }
        if (got <= 0) { break; }
        file->bytes += (size_t)got;
        if (file->bytes > file->limit) {
            file->over = true;
            break;
        }
        if (file->bytes == capacity) {
            capacity = capacity * 2 < file->limit + 1 ? capacity * 2 : file->limit + 1;
            file->data = realloc(file->data, capacity);
            memory_must(file->data);
        }
    }
    (void)close(fd);
}

static int write_all(int fd, const char *data, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t count = write(fd, data + at, bytes - at);
        if (count < 0 && errno == EINTR) { continue; }
        if (count < 0) { return errno; }
        at += (size_t)count;
    }
    return 0;
}

static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash != NULL ? job_copy(path, (size_t)(slash - path) + 1) : job_copy(".", 1);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    free(folder);
}

/* Fills a temporary file and gives it the name. Its mode is that of the file it replaces. */
static int fill_and_rename(file_job_t *file, int fd, const char *temporary, const char *target) {
    struct stat old;
    mode_t mode = stat(target, &old) == 0 ? old.st_mode & 07777 : FILE_MODE;
    int error = write_all(fd, file->data, file->bytes);
    if (error == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0)) { error = errno; }
    if (error == 0 && atomic_load(&file->stopped)) { error = ECANCELED; }
    if (error == 0 && rename(temporary, target) != 0) { error = errno; }
    return error;
}

/* Replaces the file as a whole: whoever reads it sees the old text or the new one. */
static void do_write(file_job_t *file) {
    struct stat info;
    char *real = realpath(file->path, NULL); /* a link stays one */
    const char *target = real != NULL ? real : file->path;
    if (real != NULL && stat(real, &info) == 0 && !S_ISREG(info.st_mode)) {
        file->odd_kind = !S_ISDIR(info.st_mode);
        file->error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        free(real);
        return;
    }
    size_t bytes = strlen(target) + 24;
    char *temporary = memory_zeroed(bytes);
    const char *slash = strrchr(target, '/');
    int folder = slash != NULL ? (int)(slash - target) + 1 : 0;
    (void)snprintf(temporary, bytes, "%.*s.stator-XXXXXX", folder, target);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        file->error = errno;
    } else {
        file->error = fill_and_rename(file, fd, temporary, target);
        (void)close(fd);
        if (file->error != 0) {
            (void)unlink(temporary);
        } else {
            sync_folder(target);
        }
    }
    free(temporary);
    free(real);
}

/* What does not fit is taken back: a line is there whole or not at all. */
static void do_append(file_job_t *file) {
    int fd = open_regular(file, O_WRONLY | O_APPEND | O_CREAT);
    if (fd < 0) { return; }
    file->error = write_all(fd, file->data, file->bytes);
    if (file->error != 0 && ftruncate(fd, file->info.st_size) != 0) { file->error = EIO; }
    (void)close(fd);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void do_list(file_job_t *file) {
    DIR *folder = opendir(file->path);
    if (folder == NULL) {
        file->error = errno;
        return;
    }
    file->names = memory_zeroed(FILE_MAX_NAMES * sizeof *file->names);
    const struct dirent *entry = NULL;
    /* a stream of its own: no other thread reads it */
    while (!file->over && (entry = readdir(folder)) != NULL) { /* NOLINT(concurrency-mt-unsafe) */
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) { continue; }
        file->over = file->name_count == FILE_MAX_NAMES;
        if (!file->over) { file->names[file->name_count++] = job_copy(name, strlen(name)); }
    }
    (void)closedir(folder);
    qsort(file->names, file->name_count, sizeof *file->names, by_name);
}

/* Makes the folder and those above it; one that is there is fine. */
static void do_make_dir(file_job_t *file) {
    for (char *at = file->path + 1; file->error == 0; at++) {
        if (*at != '/' && *at != '\0') { continue; }
        char kept = *at;
        *at = '\0';
        if (mkdir(file->path, FOLDER_MODE) != 0 && errno != EEXIST) { file->error = errno; }
        *at = kept;
        if (kept == '\0') { break; }
    }
    if (file->error == 0 && stat(file->path, &file->info) != 0) { file->error = errno; }
    if (file->error == 0 && !S_ISDIR(file->info.st_mode)) { file->error = EEXIST; }
}

static void on_pool(uv_work_t *work) {
    file_job_t *file = work->data;
    switch (file->kind) {
    case FILE_READ: do_read(file); break;
    case FILE_WRITE: do_write(file); break;
    case FILE_APPEND: do_append(file); break;
    case FILE_STAT:
    case FILE_EXISTS: file->error = stat(file->path, &file->info) == 0 ? 0 : errno; break;
    case FILE_LIST: do_list(file); break;
    case FILE_REMOVE: file->error = remove(file->path) == 0 ? 0 : errno; break;
    case FILE_MAKE_DIR: do_make_dir(file); break;
    }
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void after_pool(uv_work_t *work, int status) {
    file_job_t *file = work->data;
    if (status != 0) { file->error = ECANCELED; }
    job_end(&file->job);
}

static void file_begin(job_t *job) {
    file_job_t *file = (file_job_t *)job;
    file->work.data = file;
    (void)uv_queue_work(&job->rt->loop->uv, &file->work, on_pool, after_pool);
}

static void file_stop(job_t *job) {
    file_job_t *file = (file_job_t *)job;
    atomic_store(&file->stopped, true);
    (void)uv_cancel((uv_req_t *)&file->work);
}

static void file_destroy(job_t *job) {
    file_job_t *file = (file_job_t *)job;
    for (uint32_t i = 0; i < file->name_count; i++) {
        free(file->names[i]);
    }
    free(file->names);
    free(file->path);
    free(file->data);
}

static void push_info(lua_State *L, const struct stat *info) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, S_ISREG(info->st_mode)   ? "file"
                      : S_ISDIR(info->st_mode) ? "folder"
                                               : "other");
    lua_setfield(L, -2, "type");
    lua_pushnumber(L, (lua_Number)info->st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)info->st_mtim.tv_sec + (lua_Number)info->st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "modified_s");
}

static bool push_failure(const file_job_t *file, lua_State *L) {
    const char *name = file->job.key;
    if (file->kind == FILE_EXISTS && (file->error == ENOENT || file->error == ENOTDIR)) {
        lua_pushboolean(L, 0);
        return true;
    }
    if (file->odd_kind) {
        job_push_error(L, "io", "%s: is no file", name);
    } else if (file->over && file->kind == FILE_LIST) {
        job_push_error(L, "limit", "%s: more than %d names", name, FILE_MAX_NAMES);
    } else if (file->over) {
        job_push_error(L, "limit", "%s: more than %zu bytes (limit)", name, file->limit);
    } else {
        job_push_errno(L, file->error, name);
    }
    return false;
}

static bool file_result(job_t *job, lua_State *L) {
    file_job_t *file = (file_job_t *)job;
    if (file->error != 0 || file->over) { return push_failure(file, L); }
    switch (file->kind) {
    case FILE_READ: lua_pushlstring(L, file->data, file->bytes); break;
    case FILE_STAT: push_info(L, &file->info); break;
    case FILE_LIST:
        lua_createtable(L, (int)file->name_count, 0);
        for (uint32_t i = 0; i < file->name_count; i++) {
            lua_pushstring(L, file->names[i]);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    case FILE_WRITE:
    case FILE_APPEND:
    case FILE_EXISTS:
    case FILE_REMOVE:
    case FILE_MAKE_DIR: lua_pushboolean(L, 1); break;
    }
    return true;
}

#define FILE_TYPE(name)                                                                            \
    {                                                                                              \
        {name, job_op_start, job_op_abort, NULL, NULL}, JOB_FILE, FILE_MAX_ACTIVE, true,           \
            file_begin, file_stop, NULL, file_result, file_destroy                                 \
    }

const job_type_t FILE_TYPES[] = {
    [FILE_READ] = FILE_TYPE("file read"),     [FILE_WRITE] = FILE_TYPE("file write"),
    [FILE_APPEND] = FILE_TYPE("file append"), [FILE_STAT] = FILE_TYPE("file stat"),
    [FILE_EXISTS] = FILE_TYPE("file exists"), [FILE_LIST] = FILE_TYPE("file list"),
    [FILE_REMOVE] = FILE_TYPE("file remove"), [FILE_MAKE_DIR] = FILE_TYPE("file make_dir")};
