/* A libnvidia-ml.so.1 of our own, so that tests go through the real ctypes path of nvidia-ml-py.
 *
 * It plays one station with two cards: index 0 is a healthy A100, index 1 answers "GPU is lost" to everything, even to
 * the request for its handle. The environment scripts it:
 *   NVML_STUB_CODES       "nvmlDeviceGetName=4 nvmlDeviceGetSerial=999": return codes by function
 *   NVML_STUB_FIELDS      "186=3 82=13": return codes by field id
 *   NVML_STUB_VALUES      "temperature=255": values by name, see value() below
 *   NVML_STUB_LOST_AFTER  after so many calls about card 0 it answers 15 for ever
 *   NVML_STUB_XIDS        "79 48": Xid events waiting in the event set
 * Compiled with -DOLD_DRIVER it lacks what drivers before 535 lack. Layouts: nvml.h of CUDA 13.5.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Code;
typedef struct Card { int index; } *Device;

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10, LOST = 15 };

static struct Card cards[2] = {{0}, {1}};
static int calls = 0;
static int xids_told = 0;

/* The number after "name=" in a list of the environment, or `otherwise`. */
static long long listed(const char *variable, const char *name, long long otherwise) {
    const char *list = getenv(variable);
    size_t length = strlen(name);
    for (; list && *list; list += strcspn(list, " "), list += strspn(list, " "))
        if (!strncmp(list, name, length) && list[length] == '=')
            return strtoll(list + length + 1, NULL, 0);
    return otherwise;
}

static long long value(const char *name, long long otherwise) { return listed("NVML_STUB_VALUES", name, otherwise); }

static Code scripted(const char *function) {
    const char *hanging = getenv("NVML_STUB_BLOCK");
    while (hanging && !strcmp(hanging, function)) pause();
    return (Code)listed("NVML_STUB_CODES", function, OK);
}

static Code about(Device device, const char *function) {
    const char *after = getenv("NVML_STUB_LOST_AFTER");
    if (device == &cards[1] || (after && ++calls > atoi(after)))
        return LOST;
    return scripted(function);
}

#define BEGIN(device) do { Code code_ = about(device, __func__); if (code_) return code_; } while (0)
#define NUMBER(function, type, name, otherwise) \
    Code function(Device device, type *out) { BEGIN(device); *out = (type)value(name, otherwise); return OK; }
#define NUMBER_OF(function, type, name, otherwise) \
    Code function(Device device, unsigned which, type *out) { \
        (void)which; BEGIN(device); *out = (type)value(name, otherwise); return OK; }
#define PAIR(function, name1, otherwise1, name2, otherwise2) \
    Code function(Device device, unsigned *a, unsigned *b) { \
        BEGIN(device); *a = (unsigned)value(name1, otherwise1); *b = (unsigned)value(name2, otherwise2); return OK; }
#define TEXT(function, text) \
    Code function(Device device, char *out, unsigned size) { \
        BEGIN(device); snprintf(out, size, "%s", text); return OK; }

Code nvmlInitWithFlags(unsigned flags) { (void)flags; return scripted(__func__); }
Code nvmlShutdown(void) { return scripted(__func__); }
const char *nvmlErrorString(Code code) { (void)code; return "A code that nvidia-ml-py does not know"; }
Code nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "580.65.06"); return scripted(__func__); }
Code nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return scripted(__func__); }

Code nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    if (index > 1) return INVALID_ARGUMENT;
    if (index == 1) return (Code)value("handle_of_1", LOST);
    *device = &cards[0];
    return scripted(__func__);
}
Code nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
    if (strcmp(uuid, "GPU-513536b6-7d19-9063-b049-1e69664bb298")) return NOT_FOUND;
    *device = &cards[0];
    return scripted(__func__);
}
Code nvmlDeviceGetHandleByPciBusId_v2(const char *bus, Device *device) {
    if (!strcmp(bus, "00000000:A5:00.0")) return LOST;
    if (strcmp(bus, "00000000:65:00.0")) return NOT_FOUND;
    *device = &cards[0];
    return scripted(__func__);
}

TEXT(nvmlDeviceGetName, "NVIDIA A100-SXM4-80GB")
TEXT(nvmlDeviceGetUUID, "GPU-513536b6-7d19-9063-b049-1e69664bb298")
TEXT(nvmlDeviceGetSerial, "1324020001234")
TEXT(nvmlDeviceGetBoardPartNumber, "692-2G506-0212-002")
TEXT(nvmlDeviceGetVbiosVersion, "92.00.36.00.02")
TEXT(nvmlDeviceGetInforomImageVersion, "G506.0212.00.01")

struct Pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
Code nvmlDeviceGetPciInfo_v3(Device device, struct Pci *out) {
    BEGIN(device);
    memset(out, 0, sizeof *out);
    out->id = 0x20B210DE;
    out->subsystem = 0x147F10DE;
    strcpy(out->bus_id, "00000000:65:00.0");
    return OK;
}
Code nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    BEGIN(device); *major = 8; *minor = 0; return OK;
}
struct Memory { unsigned long long total, free, used; };
Code nvmlDeviceGetMemoryInfo(Device device, struct Memory *out) {
    BEGIN(device); out->total = (unsigned long long)value("memory", 85899345920LL); out->free = out->used = 0; return OK;
}
NUMBER(nvmlDeviceGetNumGpuCores, unsigned, "cores", 6912)
NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, "bus", 5120)
Code nvmlDeviceGetMaxClockInfo(Device device, unsigned kind, unsigned *out) {
    BEGIN(device); *out = kind == 1 ? 1410 : 1593; return OK;
}
Code nvmlDeviceGetClockInfo(Device device, unsigned kind, unsigned *out) {
    BEGIN(device); *out = kind == 1 ? (unsigned)value("sm_clock", 1200) : 1593; return OK;
}

PAIR(nvmlDeviceGetEccMode, "ecc", 1, "ecc_pending", 1)
PAIR(nvmlDeviceGetMigMode, "mig", 0, "mig_pending", 0)
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, "power_min", 100000, "power_max", 500000)
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, "persistence", 1)
NUMBER(nvmlDeviceGetVirtualizationMode, unsigned long long, "virtualization", 1)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit", 400000)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "power_default", 400000)
NUMBER_OF(nvmlDeviceGetTemperatureThreshold, unsigned, "threshold", 92)
NUMBER(nvmlDeviceGetNumFans, unsigned, "fans", 0)
NUMBER(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, "pcie_gen_max", 4)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, "pcie_width_max", 16)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, "pcie_gen", 4)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "pcie_width", 16)
NUMBER(nvmlDeviceGetFanSpeed, unsigned, "fan", 30)
NUMBER_OF(nvmlDeviceGetTemperature, unsigned, "temperature", 41)
NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power", 60000)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "reasons", 1)
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, "replays", 7)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy", 123456789)
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, unsigned, "retired_pending", 0)

struct Margin { unsigned version; int degrees; };
struct Temperature { unsigned version, sensor; int degrees; };
struct Two { unsigned version, first, second; };
struct Pdi { unsigned version; unsigned long long value; };
#ifndef OLD_DRIVER
Code nvmlDeviceGetMarginTemperature(Device device, struct Margin *out) {
    BEGIN(device); if (out->version != 0x1000008) return 25; out->degrees = (int)value("margin", -3); return OK;
}
Code nvmlDeviceGetTemperatureV(Device device, struct Temperature *out) {
    BEGIN(device); if (out->version != 0x100000C) return 25; out->degrees = (int)value("temperature", 42); return OK;
}
Code nvmlDeviceGetPdi(Device device, struct Pdi *out) { BEGIN(device); out->value = 0xD52BAE2E458244E2ULL; return OK; }
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "reasons", 4)
Code nvmlDeviceGetRepairStatus(Device device, struct Two *out) {
    BEGIN(device); out->first = 0; out->second = (unsigned)value("tpc_repair", 0); return OK;
}
/* Follows the layout of nvml.h (one word), where nvidia-ml-py's wrapper would answer 0 whatever happens. */
Code nvmlDeviceGetUnrepairableMemoryFlag_v1(Device device, unsigned *out) {
    BEGIN(device); *out = (unsigned)value("unrepairable", 0); return OK;
}
#endif

Code nvmlDeviceGetTotalEccErrors(Device device, unsigned kind, unsigned life, unsigned long long *out) {
    BEGIN(device);
    const char *names[2][2] = {{"corrected_volatile", "corrected_aggregate"}, {"uncorrected_volatile", "uncorrected_aggregate"}};
    *out = (unsigned long long)value(names[kind][life], 0);
    return OK;
}
struct Sram { unsigned version; unsigned long long counts[11]; unsigned exceeded; };
Code nvmlDeviceGetSramEccErrorStatus(Device device, struct Sram *out) {
    BEGIN(device);
    if (out->version != (sizeof *out | 1 << 24)) return 25;
    memset(out->counts, 0, sizeof out->counts);
    out->counts[0] = 2;
    out->counts[1] = 3;
    out->exceeded = 0;
    return OK;
}
Code nvmlDeviceGetRemappedRows(Device device, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failure) {
    BEGIN(device);
    *corrected = 1;
    *uncorrected = 4;
    *pending = (unsigned)value("remap_pending", 1);
    *failure = 0;
    return OK;
}
Code nvmlDeviceGetRowRemapperHistogram(Device device, unsigned out[5]) {
    BEGIN(device); out[0] = 639; out[1] = 1; out[2] = out[3] = out[4] = 0; return OK;
}
Code nvmlDeviceGetRetiredPages_v2(Device device, unsigned cause, unsigned *count, unsigned long long *pages, unsigned long long *times) {
    (void)cause;
    BEGIN(device);
    if (!pages) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = 2;
    pages[0] = pages[1] = times[0] = times[1] = 4096;
    return OK;
}
Code nvmlDeviceValidateInforom(Device device) { BEGIN(device); return OK; }
Code nvmlDeviceGetNvLinkState(Device device, unsigned link, unsigned *up) {
    BEGIN(device); if (link >= 12) return INVALID_ARGUMENT; *up = link != 5; return OK;
}
Code nvmlDeviceGetNvLinkErrorCounter(Device device, unsigned link, unsigned kind, unsigned long long *out) {
    BEGIN(device); if (kind == 4) return NOT_SUPPORTED; *out = link == 3 && kind == 0 ? 9 : 0; return OK;
}

struct Field {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type;
    Code code;
    union { double real; int whole; unsigned positive; unsigned long long wide; } value;
};
Code nvmlDeviceGetFieldValues(Device device, int count, struct Field *out) {
    BEGIN(device);
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", out[i].id);
        out[i].code = (Code)listed("NVML_STUB_FIELDS", name, OK);
        out[i].type = 1;
        out[i].value.wide = 0;
        if (out[i].id == 82) { out[i].type = 5; out[i].value.whole = (int)value("memory_temperature", -5); }
        if (out[i].id == 186) out[i].value.positive = (unsigned)value("power_instant", 69620);
        if (out[i].id == 230) out[i].value.positive = (unsigned)value("recovery", 0);
        if (out[i].id >= 269 && out[i].id <= 271) { out[i].type = 3; out[i].value.wide = 10000000000ULL + out[i].id; }
    }
    return OK;
}

struct Process { unsigned pid; unsigned long long memory; unsigned gi, ci; };
static Code processes(Device device, const char *function, unsigned first, unsigned *count, struct Process *out) {
    Code code = about(device, function);
    if (code) return code;
    if (!out) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = 2;
    out[0] = (struct Process){first, 512ULL << 20, ~0u, ~0u};
    out[1] = (struct Process){(unsigned)value("own_pid", 4343), ~0ULL, ~0u, ~0u};
    return OK;
}
Code nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, struct Process *out) {
    return processes(device, __func__, 4242, count, out);
}
Code nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned *count, struct Process *out) {
    return processes(device, __func__, 17, count, out);
}

struct Event { Device device; unsigned long long type, data; unsigned gi, ci; };
Code nvmlEventSetCreate(void **set) { *set = &xids_told; return scripted(__func__); }
Code nvmlEventSetFree(void *set) { (void)set; return scripted(__func__); }
Code nvmlDeviceRegisterEvents(Device device, unsigned long long types, void *set) {
    (void)types; (void)set; BEGIN(device); return OK;
}
Code nvmlEventSetWait_v2(void *set, struct Event *out, unsigned timeout) {
    (void)set; (void)timeout;
    Code code = scripted(__func__);
    if (code) return code;
    const char *list = getenv("NVML_STUB_XIDS");
    for (int i = 0; list && *list; i++, list += strcspn(list, " "), list += strspn(list, " "))
        if (i == xids_told) {
            xids_told++;
            *out = (struct Event){&cards[0], 8, strtoull(list, NULL, 10), ~0u, ~0u};
            return OK;
        }
    return TIMEOUT;
}
