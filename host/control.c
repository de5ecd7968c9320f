#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"

static const char TOO_LONG[] = "{\"error\":{\"code\":\"too_long\",\"message\":\"a request has at "
                               "most 4096 bytes\"},\"ok\":false}\n";
static const char BUSY[] = "{\"error\":{\"code\":\"busy\",\"message\":\"8 clients are connected "
                           "already\"},\"ok\":false}\n";

static uint64_t real_ns(void) { return clock_read_ns(CLOCK_MONOTONIC); }

/* ---- clients: callbacks ---------------------------------------------------------------------- */

static void on_client_closed(uv_handle_t *handle) {
    control_client_t *client = handle->data;
    free(client->out);
    *client = (control_client_t){.owner = client->owner};
}

static void client_close(control_client_t *client) {
    if (client->closing) { return; }
    client->closing = true;
    uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    control_client_t *client = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(client->in + client->in_count, CONTROL_LINE_BYTES - client->in_count);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    control_client_t *client = stream->data;
    (void)buffer;
    if (count == 0) { return; }
    if (count < 0) {
        client->ended = true;
        (void)uv_read_stop(stream);
        return;
    }
    client->since_ns = real_ns();
    client->in_count += (uint32_t)count;
    if (client->in_count < CONTROL_LINE_BYTES) { return; }
    (void)uv_read_stop(stream); /* until a request is taken out */
    client->too_long = memchr(client->in, '\n', client->in_count) == NULL;
}

static void on_refused_closed(uv_handle_t *handle) { free(handle); }

/* More clients than there is room for: told and closed. */
static void refuse(control_t *control) {
    uv_pipe_t *pipe = memory_zeroed(sizeof *pipe);
    (void)uv_pipe_init(control->listener.loop, pipe, 0);
    if (uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)pipe) == 0) {
        uv_buf_t text = uv_buf_init((char *)(uintptr_t)BUSY, sizeof BUSY - 1);
        (void)uv_try_write((uv_stream_t *)pipe, &text, 1);
    }
    control->refused++;
    uv_close((uv_handle_t *)pipe, on_refused_closed);
}

static void on_connection(uv_stream_t *stream, int status) {
    control_t *control = stream->data;
    control_client_t *client = NULL;
    if (status != 0) { return; }
    for (size_t i = 0; i < CONTROL_CLIENTS && client == NULL; i++) {
        if (!control->clients[i].used) { client = &control->clients[i]; }
    }
    if (client == NULL) {
        refuse(control);
        return;
    }
    *client = (control_client_t){.owner = control, .used = true, .since_ns = real_ns()};
    (void)uv_pipe_init(stream->loop, &client->pipe, 0);
    client->pipe.data = client;
    client->writing.data = client;
    if (uv_accept(stream, (uv_stream_t *)&client->pipe) != 0 ||
        uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read) != 0) {
        client_close(client);
    }
}

/* ---- clients: serving ------------------------------------------------------------------------ */

static void on_written(uv_write_t *write, int status) {
    control_client_t *client = write->data;
    free(client->out);
    client->out = NULL;
    client->since_ns = real_ns();
    if (status != 0 || client->last) { client_close(client); }
}

/* Takes `text` over. */
static void client_write(control_client_t *client, char *text, bool last) {
    client->out = text;
    client->last = last;
    uv_buf_t buffer = uv_buf_init(text, (unsigned)strlen(text));
    if (uv_write(&client->writing, (uv_stream_t *)&client->pipe, &buffer, 1, on_written) != 0) {
        client_close(client);
    }
}

static char *with_newline(char *text) {
    size_t length = strlen(text);
    char *grown = realloc(text, length + 2);
    memory_must(grown);
    memcpy(grown + length, "\n", 2);
    return grown;
}

static void client_forget(control_client_t *client, uint32_t bytes) {
    bool full = client->in_count == CONTROL_LINE_BYTES;
    client->in_count -= bytes;
    memmove(client->in, client->in + bytes, client->in_count);
    if (full && !client->ended) {
        (void)uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read);
    }
}

/* Answers the first line of the client. */
static void client_answer(control_client_t *client, char *text, bool last) {
    const char *end = memchr(client->in, '\n', client->in_count);
    client->asked = false;
    client_forget(client, (uint32_t)(end - client->in) + 1);
    client_write(client, with_newline(text), last);
}

static void client_serve(control_client_t *client, control_answer_t answer, void *context) {
    if (!client->used || client->closing) { return; }
    if (real_ns() - client->since_ns > CONTROL_IDLE_NS) {
        client_close(client);
        return;
    }
    if (client->out != NULL) { return; } /* one at a time: a client that does not read waits */
    if (client->too_long) {
        char *text = strdup(TOO_LONG);
        memory_must(text);
        client_write(client, text, true);
        return;
    }
    const char *end = memchr(client->in, '\n', client->in_count);
    if (end == NULL) {
        if (client->ended) { client_close(client); }
        return;
    }
    bool last = false;
    char *text = answer(context, client->in, (size_t)(end - client->in), &last);
    client->asked = text == NULL;
    if (text != NULL) { client_answer(client, text, last); }
}

void control_serve(control_t *control, control_answer_t answer, void *context) {
    for (size_t i = 0; i < CONTROL_CLIENTS && control->open; i++) {
        client_serve(&control->clients[i], answer, context);
    }
}

void control_give_up(control_t *control, const char *line) {
    for (size_t i = 0; i < CONTROL_CLIENTS && control->open; i++) {
        control_client_t *client = &control->clients[i];
        if (!client->used || client->closing || !client->asked) { continue; }
        char *text = strdup(line);
        memory_must(text);
        client_answer(client, text, false);
    }
}

/* ---- the socket ------------------------------------------------------------------------------ */

static const char *reason(int error) {
    switch (error) {
    case UV_EADDRINUSE: return "another host listens there";
    case UV_ENOTSOCK: return "a file that is no socket is there";
    case UV_ENOTDIR: return "its folder is not there";
    default: return uv_strerror(error);
    }
}

static int listen_on(control_t *control, int fd) {
    int rc = uv_pipe_open(&control->listener, fd);
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    return uv_listen((uv_stream_t *)&control->listener, CONTROL_CLIENTS, on_connection);
}

int control_open(control_t *control, uv_loop_t *loop, const char *path, char *why,
                 size_t why_bytes) {
    *control = (control_t){0};
    int rc = unix_socket_bind(&control->file, path, 0600);
    if (rc >= 0) {
        (void)uv_pipe_init(loop, &control->listener, 0);
        control->listener.data = control;
        control->open = true;
        rc = listen_on(control, rc);
    }
    if (rc != 0) {
        (void)snprintf(why, why_bytes, "%s", reason(rc));
        control_close(control);
        return -1;
    }
    return 0;
}

void control_close(control_t *control) {
    if (!control->open) { return; }
    control->open = false;
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (control->clients[i].used) { client_close(&control->clients[i]); }
    }
    uv_close((uv_handle_t *)&control->listener, NULL);
    unix_socket_remove(&control->file);
}
