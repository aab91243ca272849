/* Events of recorded spans, appended in C: what `events.py` does in Python, in a tenth of the time.

   A wrapped function is a callable object. Called, it appends (code, time) to the buffer of its thread, calls the
   function, and appends again. The GIL is held throughout, so nothing here needs a lock of its own. */

#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { ENTER, EXIT, FAILED, KINDS };
enum { FIRST_NUMBERS = 1 << 14, THREAD_BITS = 40 };

/* A thread's events: numbers (code, ns, code, ns, ...). `gone` counts the events that were cleared. */
typedef struct {
    PyObject_HEAD
    unsigned long thread;
    int64_t key;
    int64_t gone;
    int64_t *numbers;
    size_t used, room;
} Buffer;

typedef struct {
    PyObject_HEAD
    PyObject *buffers; /* a list of Buffer, one a thread, in the order of their first events */
    Buffer *last;      /* borrowed: the one that was used last */
} Events;

typedef struct {
    PyObject_HEAD
    Events *events;
    PyObject *function; /* of a bound method the plain function, which saves a look at the method's own memory */
    PyObject *bound;    /* and what it is bound to, else NULL */
    PyObject *push, *pop;
    int64_t code;
} Recorded;

static PyObject *method_type; /* types.MethodType */
static PyTypeObject *buffer_type, *events_type, *recorded_type;

/* time.perf_counter_ns() reads the same clock. */
static int64_t now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000000000 + moment.tv_nsec;
}

static int append(Buffer *buffer, int64_t code) {
    if (buffer->used + 2 > buffer->room) {
        size_t room = buffer->room ? 2 * buffer->room : FIRST_NUMBERS;
        int64_t *numbers = realloc(buffer->numbers, room * sizeof *numbers);
        if (!numbers) {
            PyErr_NoMemory();
            return -1;
        }
        buffer->numbers = numbers;
        buffer->room = room;
    }
    buffer->numbers[buffer->used] = code;
    buffer->numbers[buffer->used + 1] = now();
    buffer->used += 2;
    return 0;
}

/* The calling thread's buffer, borrowed. */
static Buffer *here(Events *events) {
    unsigned long thread = PyThread_get_thread_ident();
    if (events->last && events->last->thread == thread) return events->last;
    Py_ssize_t count = PyList_Size(events->buffers);
    for (Py_ssize_t place = 0; place < count; place++) {
        Buffer *buffer = (Buffer *)PyList_GetItem(events->buffers, place);
        if (buffer->thread == thread) return events->last = buffer;
    }
    Buffer *buffer = PyObject_New(Buffer, buffer_type);
    if (!buffer) return NULL;
    buffer->thread = thread;
    buffer->key = ((int64_t)count + 1) << THREAD_BITS;
    buffer->gone = 0;
    buffer->numbers = NULL;
    buffer->used = buffer->room = 0;
    int failed = PyList_Append(events->buffers, (PyObject *)buffer);
    Py_DECREF(buffer); /* the list has it */
    if (failed) return NULL;
    return events->last = buffer;
}

static PyObject *call(Recorded *recorded, PyObject *arguments, PyObject *keywords) {
    if (!recorded->bound) return PyObject_Call(recorded->function, arguments, keywords);
    Py_ssize_t count = PyTuple_Size(arguments);
    PyObject *all = PyTuple_New(count + 1);
    if (!all) return NULL;
    Py_INCREF(recorded->bound);
    PyTuple_SetItem(all, 0, recorded->bound);
    for (Py_ssize_t place = 0; place < count; place++) {
        PyObject *argument = PyTuple_GetItem(arguments, place);
        Py_INCREF(argument);
        PyTuple_SetItem(all, place + 1, argument);
    }
    PyObject *result = PyObject_Call(recorded->function, all, keywords);
    Py_DECREF(all);
    return result;
}

static PyObject *recorded_call(PyObject *self, PyObject *arguments, PyObject *keywords) {
    Recorded *recorded = (Recorded *)self;
    Buffer *buffer = here(recorded->events);
    if (!buffer) return NULL;
    if (recorded->push) {
        long long key = buffer->key + buffer->gone + (int64_t)(buffer->used / 2);
        PyObject *told = PyObject_CallFunction(recorded->push, "L", key);
        if (!told) return NULL;
        Py_DECREF(told);
    }
    if (append(buffer, recorded->code + ENTER)) return NULL;
    PyObject *result = call(recorded, arguments, keywords);
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    if (!result) PyErr_Fetch(&type, &value, &traceback);
    int lost = append(buffer, recorded->code + (result ? EXIT : FAILED));
    if (!lost && recorded->pop) {
        PyObject *told = PyObject_CallFunction(recorded->pop, NULL);
        lost = told == NULL;
        Py_XDECREF(told);
    }
    if (lost && result) {
        Py_DECREF(result);
        return NULL;
    }
    if (!result) PyErr_Restore(type, value, traceback);
    return result;
}

static void recorded_free(PyObject *self) {
    Recorded *recorded = (Recorded *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF((PyObject *)recorded->events);
    Py_XDECREF(recorded->function);
    Py_XDECREF(recorded->bound);
    Py_XDECREF(recorded->push);
    Py_XDECREF(recorded->pop);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int recorded_visit(PyObject *self, visitproc visit, void *arg) {
    Recorded *recorded = (Recorded *)self;
    Py_VISIT(recorded->function);
    Py_VISIT(recorded->bound);
    Py_VISIT(recorded->push);
    Py_VISIT(recorded->pop);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int recorded_clear(PyObject *self) {
    Recorded *recorded = (Recorded *)self;
    Py_CLEAR(recorded->function);
    Py_CLEAR(recorded->bound);
    Py_CLEAR(recorded->push);
    Py_CLEAR(recorded->pop);
    return 0;
}

/* What was wrapped; `inspect` reads signatures through this. */
static PyObject *recorded_wrapped(PyObject *self, void *unused) {
    (void)unused;
    Recorded *recorded = (Recorded *)self;
    if (recorded->bound) return PyObject_CallFunctionObjArgs(method_type, recorded->function, recorded->bound, NULL);
    Py_INCREF(recorded->function);
    return recorded->function;
}

static PyObject *events_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    if (PyTuple_Size(arguments) || (keywords && PyDict_Size(keywords))) {
        PyErr_SetString(PyExc_TypeError, "Events takes no arguments");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Events *events = (Events *)allocate(type, 0);
    if (!events) return NULL;
    events->last = NULL;
    events->buffers = PyList_New(0);
    if (!events->buffers) {
        Py_DECREF(events);
        return NULL;
    }
    return (PyObject *)events;
}

static void events_free(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((Events *)self)->buffers);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *events_wrap(PyObject *self, PyObject *arguments) {
    PyObject *function, *push = Py_None, *pop = Py_None;
    long long identifier;
    if (!PyArg_ParseTuple(arguments, "OL|OO", &function, &identifier, &push, &pop)) return NULL;
    Recorded *recorded = PyObject_GC_New(Recorded, recorded_type);
    if (!recorded) return NULL;
    Py_INCREF(self);
    recorded->events = (Events *)self;
    recorded->bound = NULL;
    recorded->function = PyObject_IsInstance(function, method_type) == 1 ? PyObject_GetAttrString(function, "__func__") : NULL;
    if (recorded->function) recorded->bound = PyObject_GetAttrString(function, "__self__");
    if (!recorded->bound) {
        PyErr_Clear();
        Py_XDECREF(recorded->function);
        Py_INCREF(function);
        recorded->function = function;
    }
    recorded->push = recorded->pop = NULL;
    if (push != Py_None) {
        Py_INCREF(push);
        Py_INCREF(pop);
        recorded->push = push;
        recorded->pop = pop;
    }
    recorded->code = KINDS * identifier;
    PyObject_GC_Track((PyObject *)recorded);
    return (PyObject *)recorded;
}

static PyObject *events_append(PyObject *self, PyObject *argument) {
    long long code = PyLong_AsLongLong(argument);
    if (code == -1 && PyErr_Occurred()) return NULL;
    Buffer *buffer = here((Events *)self);
    if (!buffer || append(buffer, code)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *events_here(PyObject *self, PyObject *unused) {
    (void)unused;
    Buffer *buffer = here((Events *)self);
    Py_XINCREF((PyObject *)buffer);
    return (PyObject *)buffer;
}

static PyObject *events_buffers(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyList_AsTuple(((Events *)self)->buffers);
}

static void buffer_free(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    free(((Buffer *)self)->numbers);
    PyObject_Free(self);
    Py_DECREF(type);
}

static Py_ssize_t buffer_length(PyObject *self) { return (Py_ssize_t)(((Buffer *)self)->used / 2); }

static PyObject *buffer_read(PyObject *self, PyObject *unused) {
    (void)unused;
    Buffer *buffer = (Buffer *)self;
    return PyBytes_FromStringAndSize((char *)buffer->numbers, (Py_ssize_t)(buffer->used * sizeof(int64_t)));
}

static PyObject *buffer_clear(PyObject *self, PyObject *unused) {
    (void)unused;
    Buffer *buffer = (Buffer *)self;
    buffer->gone += (int64_t)(buffer->used / 2);
    buffer->used = 0;
    Py_RETURN_NONE;
}

static PyObject *buffer_thread(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((Buffer *)self)->thread);
}

static PyObject *buffer_key(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(((Buffer *)self)->key + ((Buffer *)self)->gone);
}

static PyMethodDef buffer_methods[] = {
    {"read", buffer_read, METH_NOARGS, "The events as bytes: two int64 each, a code and ns."},
    {"clear", buffer_clear, METH_NOARGS, "Forget the events; later ones keep their keys."},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef buffer_fields[] = {
    {"thread", buffer_thread, NULL, "The thread's identifier.", NULL},
    {"key", buffer_key, NULL, "The key of the first event that is still here.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};
static PyMethodDef events_methods[] = {
    {"wrap", events_wrap, METH_VARARGS, "wrap(function, identifier, push=None, pop=None)"},
    {"append", events_append, METH_O, "Append a code, and the time."},
    {"here", events_here, METH_NOARGS, "The calling thread's buffer."},
    {"buffers", events_buffers, METH_NOARGS, "All buffers, a thread each."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef recorded_fields[] = {
    {"__wrapped__", recorded_wrapped, NULL, "The function without the recording.", NULL}, {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot buffer_slots[] = {{Py_tp_dealloc, buffer_free},
                                     {Py_sq_length, buffer_length},
                                     {Py_tp_methods, buffer_methods},
                                     {Py_tp_getset, buffer_fields},
                                     {0, NULL}};
static PyType_Slot events_slots[] = {
    {Py_tp_new, events_new}, {Py_tp_dealloc, events_free}, {Py_tp_methods, events_methods}, {0, NULL}};
static PyType_Slot recorded_slots[] = {{Py_tp_call, recorded_call},
                                       {Py_tp_dealloc, recorded_free},
                                       {Py_tp_traverse, recorded_visit},
                                       {Py_tp_clear, recorded_clear},
                                       {Py_tp_getset, recorded_fields},
                                       {0, NULL}};

static PyType_Spec buffer_spec = {"mlms.tracing._events.Buffer", sizeof(Buffer), 0, Py_TPFLAGS_DEFAULT, buffer_slots};
static PyType_Spec events_spec = {"mlms.tracing._events.Events", sizeof(Events), 0, Py_TPFLAGS_DEFAULT, events_slots};
static PyType_Spec recorded_spec = {"mlms.tracing._events.Recorded", sizeof(Recorded), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, recorded_slots};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_events", "Events of recorded spans.", -1, NULL,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__events(void) {
    PyObject *made = PyModule_Create(&module);
    if (!made) return NULL;
    PyObject *types = PyImport_ImportModule("types");
    method_type = types ? PyObject_GetAttrString(types, "MethodType") : NULL;
    Py_XDECREF(types);
    buffer_type = (PyTypeObject *)PyType_FromSpec(&buffer_spec);
    events_type = (PyTypeObject *)PyType_FromSpec(&events_spec);
    recorded_type = (PyTypeObject *)PyType_FromSpec(&recorded_spec);
    if (!method_type || !buffer_type || !events_type || !recorded_type ||
        PyModule_AddObject(made, "Events", (PyObject *)events_type)) {
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
