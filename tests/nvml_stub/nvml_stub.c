/* A libnvidia-ml.so.1 of our own, so that tests go through the real ctypes path of nvidia-ml-py.
 *
 * It plays one station with two cards: index 0 is a healthy A100, index 1 answers "GPU is lost" to everything, even to
 * the request for its handle. The environment scripts it, and may change between calls:
 *   NVML_STUB_CODES       "nvmlDeviceGetName=4 nvmlDeviceGetSerial=999": return codes by function; "*=4": of all
 *   NVML_STUB_FIELDS      "186=3 82=13": return codes by field id
 *   NVML_STUB_VALUES      "temperature=255": values by name, see value() below
 *   NVML_STUB_LOST_AFTER  after so many calls about card 0 it answers 15 for ever
 *   NVML_STUB_XIDS        "79 48": Xid events waiting in the event set
 *   NVML_STUB_BLOCK       "nvmlDeviceGetName=1": never returns; =2: nor does any signal but SIGKILL end it
 *   NVML_STUB_CRASH       "nvmlInitWithFlags=1": dies of SIGSEGV
 *   NVML_STUB_PRINT       "nvmlInitWithFlags=1": prints to standard output, as libraries should not
 * nvmlInit starts its counting anew. The types are those of nvml.h (PyPI nvidia-nvml-dev), so that the compiler holds
 * each function against its declaration. -DOLD_DRIVER leaves out what drivers before 535 lack, -DBARE nearly everything.
 */
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef nvmlReturn_t Code;
struct nvmlDevice_st { int index; };
struct nvmlEventSet_st { int told; };

static struct nvmlDevice_st cards[2] = {{0}, {1}};
static struct nvmlEventSet_st events;
static int calls = 0;

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
    long long block = listed("NVML_STUB_BLOCK", function, 0);
    if (block == 2)
        for (int number = 1; number < NSIG; number++) signal(number, SIG_IGN);
    while (block) pause();
    if (listed("NVML_STUB_CRASH", function, 0)) raise(SIGSEGV);
    if (listed("NVML_STUB_PRINT", function, 0)) { printf("{\"type\": \"seen\"}\nhello from %s\n", function); fflush(stdout); }
    return (Code)listed("NVML_STUB_CODES", function, listed("NVML_STUB_CODES", "*", NVML_SUCCESS));
}

static Code about(nvmlDevice_t device, const char *function) {
    const char *after = getenv("NVML_STUB_LOST_AFTER");
    if (device == &cards[1] || (after && ++calls > atoi(after)))
        return NVML_ERROR_GPU_IS_LOST;
    if (!after) calls++;
    return scripted(function);
}

#define BEGIN(device) do { Code code_ = about(device, __func__); if (code_) return code_; } while (0)
#define VERSIONED(out, word) do { if ((out)->version != (word)) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH; } while (0)
#define NUMBER(function, type, name, otherwise) \
    Code function(nvmlDevice_t device, type *out) { BEGIN(device); *out = (type)value(name, otherwise); return NVML_SUCCESS; }
#define NUMBER_OF(function, kind, type, name, otherwise) \
    Code function(nvmlDevice_t device, kind which, type *out) { \
        (void)which; BEGIN(device); *out = (type)value(name, otherwise); return NVML_SUCCESS; }
#define PAIR(function, type, name1, otherwise1, name2, otherwise2) \
    Code function(nvmlDevice_t device, type *a, type *b) { \
        BEGIN(device); *a = (type)value(name1, otherwise1); *b = (type)value(name2, otherwise2); return NVML_SUCCESS; }
#define TEXT(function, name, text) \
    Code function(nvmlDevice_t device, char *out, unsigned size) { \
        BEGIN(device); snprintf(out, size, "%s", worded(name, text)); return NVML_SUCCESS; }

/* A text may be scripted as empty (0) or as bytes that are no text (1). */
static const char *worded(const char *name, const char *text) {
    switch (value(name, -1)) {
        case 0: return "";
        case 1: return "\xff\xfe\xfd";
        default: return text;
    }
}

int stub_calls(void);
int stub_calls(void) { return calls; }

Code nvmlInitWithFlags(unsigned flags) { (void)flags; calls = events.told = 0; return scripted(__func__); }
Code nvmlShutdown(void) { return scripted(__func__); }
const char *nvmlErrorString(Code code) { (void)code; return worded("error_words", "A code that nvidia-ml-py does not know"); }
Code nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)value("count", 2); return scripted(__func__); }
Code nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    if (index > 1) return NVML_ERROR_INVALID_ARGUMENT;
    if (index == 1) return (Code)value("handle_of_1", NVML_ERROR_GPU_IS_LOST);
    *device = &cards[0];
    return scripted(__func__);
}
TEXT(nvmlDeviceGetName, "name", "NVIDIA A100-SXM4-80GB")

#ifndef BARE
Code nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "580.65.06"); return scripted(__func__); }
Code nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    if (strcmp(uuid, "GPU-513536b6-7d19-9063-b049-1e69664bb298")) return NVML_ERROR_NOT_FOUND;
    *device = &cards[0];
    return scripted(__func__);
}
Code nvmlDeviceGetHandleByPciBusId_v2(const char *bus, nvmlDevice_t *device) {
    if (!strcmp(bus, "00000000:A5:00.0")) return NVML_ERROR_GPU_IS_LOST;
    if (strcmp(bus, "00000000:65:00.0")) return NVML_ERROR_NOT_FOUND;
    *device = &cards[0];
    return scripted(__func__);
}

TEXT(nvmlDeviceGetUUID, "uuid", "GPU-513536b6-7d19-9063-b049-1e69664bb298")
TEXT(nvmlDeviceGetSerial, "serial", "1324020001234")
TEXT(nvmlDeviceGetBoardPartNumber, "board", "692-2G506-0212-002")
TEXT(nvmlDeviceGetVbiosVersion, "vbios", "92.00.36.00.02")
TEXT(nvmlDeviceGetInforomImageVersion, "inforom", "G506.0212.00.01")
Code nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *out) {
    BEGIN(device); strcpy(out, worded("gsp", "580.65.06")); return NVML_SUCCESS;
}

Code nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *out) {
    BEGIN(device);
    memset(out, 0, sizeof *out);
    out->pciDeviceId = (unsigned)value("pci_device", 0x20B210DE);
    out->pciSubSystemId = (unsigned)value("pci_subsystem", 0x147F10DE);
    strcpy(out->busId, "00000000:65:00.0");
    return NVML_SUCCESS;
}
Code nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    BEGIN(device); *major = 8; *minor = 0; return NVML_SUCCESS;
}
Code nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out) {
    BEGIN(device);
    *out = (nvmlMemory_t){.total = (unsigned long long)value("memory", 85899345920LL), .used = 1 << 30};
    return NVML_SUCCESS;
}
NUMBER(nvmlDeviceGetNumGpuCores, unsigned, "cores", 6912)
NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, "bus", 5120)
Code nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t kind, unsigned *out) {
    BEGIN(device); *out = kind == NVML_CLOCK_SM ? 1410 : 1593; return NVML_SUCCESS;
}
Code nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t kind, unsigned *out) {
    BEGIN(device); *out = kind == NVML_CLOCK_SM ? (unsigned)value("sm_clock", 1200) : 1593; return NVML_SUCCESS;
}

PAIR(nvmlDeviceGetEccMode, nvmlEnableState_t, "ecc", 1, "ecc_pending", 1)
PAIR(nvmlDeviceGetMigMode, unsigned, "mig", 0, "mig_pending", 0)
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, unsigned, "power_min", 100000, "power_max", 500000)
NUMBER(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, "persistence", 1)
NUMBER(nvmlDeviceGetVirtualizationMode, nvmlGpuVirtualizationMode_t, "virtualization", 1)
NUMBER(nvmlDeviceGetComputeMode, nvmlComputeMode_t, "compute_mode", 3)
NUMBER(nvmlDeviceGetDisplayActive, nvmlEnableState_t, "display", 0)
NUMBER(nvmlDeviceGetPowerSource, nvmlPowerSource_t, "power_source", 0)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit", 400000)
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, "power_requested", 450000)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "power_default", 400000)
Code nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t which, unsigned *out) {
    static const unsigned degrees[] = {92, 89, 95, 85};
    BEGIN(device); *out = (unsigned)value("threshold", degrees[which]); return NVML_SUCCESS;
}
NUMBER(nvmlDeviceGetNumFans, unsigned, "fans", 0)
NUMBER(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, "pcie_gen_max", 5)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, "pcie_gen_max_slot", 4)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, "pcie_width_max", 16)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, "pcie_gen", 4)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "pcie_width", 16)
NUMBER(nvmlDeviceGetFanSpeed, unsigned, "fan", 30)
NUMBER_OF(nvmlDeviceGetTemperature, nvmlTemperatureSensors_t, unsigned, "temperature", 41)
NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power", 60000)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, "reasons", 1)
NUMBER(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, "supported", 0xFF)
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, "replays", 7)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, "energy", 123456789)
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, nvmlEnableState_t, "retired_pending", 0)
Code nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out) {
    BEGIN(device); *out = (nvmlUtilization_t){(unsigned)value("utilization", 3), 1}; return NVML_SUCCESS;
}
Code nvmlDeviceGetViolationStatus(nvmlDevice_t device, nvmlPerfPolicyType_t policy, nvmlViolationTime_t *out) {
    BEGIN(device);
    *out = (nvmlViolationTime_t){5, policy == NVML_PERF_POLICY_THERMAL ? 77 : 0};
    return NVML_SUCCESS;
}

#ifndef OLD_DRIVER
Code nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlMemory_v2);
    out->used = (unsigned long long)value("used", 512LL << 20);
    out->reserved = (unsigned long long)value("reserved", 660LL << 20);
    return NVML_SUCCESS;
}
Code nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlMarginTemperature_v1);
    out->marginTemperature = (int)value("margin", -3);
    return NVML_SUCCESS;
}
Code nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlTemperature_v1);
    const int hottest = out->sensorType != NVML_TEMPERATURE_GPU;
    const long long degrees = value(hottest ? "hotspot" : "temperature", hottest ? 53 : 42);
    if (degrees < 0) return NVML_ERROR_INVALID_ARGUMENT;  // a driver before 615 knows one sensor
    out->temperature = (int)degrees;
    return NVML_SUCCESS;
}
Code nvmlDeviceGetPdi(nvmlDevice_t device, nvmlPdi_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlPdi_v1);
    out->value = (unsigned long long)value("pdi", (long long)0xD52BAE2E458244E2ULL);
    return NVML_SUCCESS;
}
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, "reasons", 4)
NUMBER(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, "supported", 0x1FF)
Code nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlGpuFabricInfo_v2);
    out->state = (nvmlGpuFabricState_t)value("fabric", NVML_GPU_FABRIC_STATE_COMPLETED);
    out->status = (Code)value("fabric_status", NVML_SUCCESS);
    return NVML_SUCCESS;
}
Code nvmlDeviceGetRepairStatus(nvmlDevice_t device, nvmlRepairStatus_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlRepairStatus_v1);
    out->bChannelRepairPending = (unsigned)value("channel_repair", 0);
    out->bTpcRepairPending = (unsigned)value("tpc_repair", 0);
    return NVML_SUCCESS;
}
/* Follows the layout of nvml.h (one word), where nvidia-ml-py's wrapper would answer 0 whatever happens. */
Code nvmlDeviceGetUnrepairableMemoryFlag_v1(nvmlDevice_t device, nvmlUnrepairableMemoryStatus_v1_t *out) {
    BEGIN(device); out->bUnrepairableMemory = (unsigned)value("unrepairable", 0); return NVML_SUCCESS;
}
Code nvmlDeviceGetBBXTimeData_v1(nvmlDevice_t device, nvmlBBXTimeData_v1_t *out) {
    BEGIN(device); out->timeRun = (unsigned)value("time_run", 86400); return NVML_SUCCESS;
}
Code nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *out) {
    *out = (nvmlConfComputeSystemState_t){.ccFeature = (unsigned)value("confidential", 0)};
    return scripted(__func__);
}
Code nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *out) {
    BEGIN(device);
    VERSIONED(out, nvmlEccSramErrorStatus_v1);
    out->aggregateUncParity = (unsigned long long)value("sram_parity", 2);
    out->aggregateUncSecDed = (unsigned long long)value("sram_secded", 3);
    out->bThresholdExceeded = (unsigned)value("sram_exceeded", 0);
    return NVML_SUCCESS;
}
#endif

Code nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t kind, nvmlEccCounterType_t life,
                                 unsigned long long *out) {
    BEGIN(device);
    const char *names[2][2] = {{"corrected_volatile", "corrected_aggregate"}, {"uncorrected_volatile", "uncorrected_aggregate"}};
    *out = (unsigned long long)value(names[kind][life], 0);
    return NVML_SUCCESS;
}
Code nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                               unsigned *failure) {
    BEGIN(device);
    *corrected = 1;
    *uncorrected = 4;
    *pending = (unsigned)value("remap_pending", 1);
    *failure = 0;
    return NVML_SUCCESS;
}
Code nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowRemapperHistogramValues_t *out) {
    BEGIN(device);
    *out = (nvmlRowRemapperHistogramValues_t){.max = (unsigned)value("banks", 639), .high = 1};
    return NVML_SUCCESS;
}
Code nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, nvmlPageRetirementCause_t cause, unsigned *count,
                                  unsigned long long *pages, unsigned long long *times) {
    BEGIN(device);
    int told = cause == NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR ? 2 : 1;
    if (!pages) { *count = told; return NVML_ERROR_INSUFFICIENT_SIZE; }
    *count = told;
    for (int page = 0; page < told; page++) {
        pages[page] = 4096 * page;
        times[page] = (unsigned long long)value(page ? "retired_later" : "retired_first", 1600000000000000LL);
    }
    return NVML_SUCCESS;
}
Code nvmlDeviceValidateInforom(nvmlDevice_t device) { BEGIN(device); return NVML_SUCCESS; }

Code nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, nvmlEnableState_t *up) {
    BEGIN(device);
    if (link >= 12) return NVML_ERROR_INVALID_ARGUMENT;
    char name[16];
    snprintf(name, sizeof name, "link%u", link);
    long long state = value(name, link != 5); /* below 0: a failure */
    *up = (nvmlEnableState_t)state;
    return state < 0 ? (Code)-state : NVML_SUCCESS;
}
Code nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned link, nvmlNvLinkErrorCounter_t kind,
                                     unsigned long long *out) {
    BEGIN(device);
    if (kind == NVML_NVLINK_ERROR_DL_ECC_DATA || value("nvlink5", 0)) return NVML_ERROR_NOT_SUPPORTED;
    *out = link == 3 && kind == NVML_NVLINK_ERROR_DL_REPLAY ? 9 : 0;
    return NVML_SUCCESS;
}

static Code degrees(nvmlFieldValue_t *out, int value) {
    out->valueType = NVML_VALUE_TYPE_SIGNED_INT;
    out->value.siVal = value;
    return NVML_SUCCESS;
}

static Code field(nvmlFieldValue_t *out) {
    out->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
    out->value.ullVal = 0;
    switch (out->fieldId) {
        case NVML_FI_DEV_MEMORY_TEMP: return degrees(out, (int)value("memory_temperature", -5));
        case NVML_FI_DEV_POWER_INSTANT: out->value.uiVal = (unsigned)value("power_instant", 69620); break;
        case NVML_FI_DEV_PERF_POLICY_THERMAL: out->value.uiVal = (unsigned)value("policy_thermal", 75); break;
        case NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT: return degrees(out, -8);
        case NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT: return degrees(out, -2);
        case NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT: return degrees(out, -1);
        case NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT: return degrees(out, 0);
        case NVML_FI_DEV_NVLINK_GET_SPEED: out->value.uiVal = out->scopeId == 3 ? 25000 : 26562; break;
        case NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS:
        case NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS:
            out->value.uiVal = out->fieldId;
            return value("nvlink5", 0) ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
        case NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS:
            if (!value("nvlink5", 0)) return NVML_ERROR_NOT_SUPPORTED;
            out->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
            out->value.ullVal = out->scopeId == 2 ? 1ULL << 33 : 0;
            break;
#ifdef OLD_DRIVER
        case NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN:
        case NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN:
        case NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN:
        case NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: return NVML_ERROR_INVALID_ARGUMENT;
#else
        case NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN:
        case NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN:
        case NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN:
            out->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
            out->value.ullVal = 10000000000ULL + out->fieldId;
            break;
        case NVML_FI_DEV_GET_GPU_RECOVERY_ACTION:
            out->valueType = (nvmlValueType_t)value("recovery_type", NVML_VALUE_TYPE_UNSIGNED_INT);
            if (out->valueType == NVML_VALUE_TYPE_DOUBLE)
                out->value.dVal = value("recovery", 0) < 0 ? 0.0 / 0.0 : 2.5;
            else
                out->value.uiVal = (unsigned)value("recovery", 0);
            break;
#endif
        default: /* error counters: their own number, so that none can be taken for another */
            out->value.uiVal = out->fieldId;
    }
    return NVML_SUCCESS;
}

Code nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *out) {
    BEGIN(device);
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", out[i].fieldId);
        out[i].nvmlReturn = field(&out[i]);
        if (out[i].nvmlReturn == NVML_SUCCESS)
            out[i].nvmlReturn = (Code)listed("NVML_STUB_FIELDS", name, listed("NVML_STUB_FIELDS", "*", NVML_SUCCESS));
    }
    return NVML_SUCCESS;
}

static Code processes(nvmlDevice_t device, const char *function, unsigned first, unsigned *count, nvmlProcessInfo_v2_t *out) {
    Code code = about(device, function);
    if (code) return code;
    if (!out) { *count = 2; return NVML_ERROR_INSUFFICIENT_SIZE; }
    *count = 2;
    out[0] = (nvmlProcessInfo_v2_t){first, 512ULL << 20, ~0u, ~0u};
    out[1] = (nvmlProcessInfo_v2_t){(unsigned)value("own_pid", 4343), ~0ULL, ~0u, ~0u};
    return NVML_SUCCESS;
}
#define PROCESSES(function, type, first) \
    Code function(nvmlDevice_t device, unsigned *count, type *out) { \
        _Static_assert(sizeof(type) == sizeof(nvmlProcessInfo_v2_t), "one layout"); \
        return processes(device, __func__, first, count, (nvmlProcessInfo_v2_t *)out); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t, 4242)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t, 17)
#ifndef OLD_DRIVER
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_t, 4242)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_t, 17)
#endif

Code nvmlEventSetCreate(nvmlEventSet_t *set) { *set = &events; return scripted(__func__); }
Code nvmlEventSetFree(nvmlEventSet_t set) { (void)set; return scripted(__func__); }
Code nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    (void)set;
    BEGIN(device);
    return types == nvmlEventTypeXidCriticalError ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}
Code nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *out, unsigned timeout) {
    (void)timeout;
    Code code = scripted(__func__);
    if (code) return code;
    const char *list = getenv("NVML_STUB_XIDS");
    for (int i = 0; list && *list; i++, list += strcspn(list, " "), list += strspn(list, " "))
        if (i == set->told) {
            set->told++;
            *out = (nvmlEventData_t){&cards[0], nvmlEventTypeXidCriticalError, strtoull(list, NULL, 10), ~0u, ~0u};
            return NVML_SUCCESS;
        }
    return NVML_ERROR_TIMEOUT;
}
#endif
