#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

/// The GPU driver's interface, declared by ourselves: every function is in CUDA 12.2 (driver 535). Each returns 0 or an
/// error's number.
namespace commissure::cuda {

using DriverPtr = std::uint64_t;  ///< an address on the card
using Stream = struct StreamOpaque*;
using Module = struct ModuleOpaque*;
using Function = struct FunctionOpaque*;
using Context = struct ContextOpaque*;

struct Driver {
  int (*init)(unsigned flags) = nullptr;
  int (*version)(int* version) = nullptr;
  int (*error_name)(int error, const char** name) = nullptr;
  int (*device_count)(int* n) = nullptr;
  int (*device_get)(int* device, int ordinal) = nullptr;
  int (*device_name)(char* text, int size, int device) = nullptr;
  int (*device_attribute)(int* value, int which, int device) = nullptr;
  int (*context_retain)(Context* context, int device) = nullptr;
  int (*context_release)(int device) = nullptr;
  int (*context_set)(Context context) = nullptr;
  int (*memory_info)(std::size_t* free, std::size_t* total) = nullptr;
  int (*allocate)(DriverPtr* at, std::size_t n_bytes) = nullptr;
  int (*free)(DriverPtr at) = nullptr;
  int (*copy_in)(DriverPtr to, const void* from, std::size_t n_bytes, Stream stream) = nullptr;
  int (*copy_out)(void* to, DriverPtr from, std::size_t n_bytes, Stream stream) = nullptr;
  int (*fill)(DriverPtr at, unsigned char value, std::size_t n_bytes, Stream stream) = nullptr;
  int (*stream_create)(Stream* stream, unsigned flags) = nullptr;
  int (*stream_destroy)(Stream stream) = nullptr;
  int (*stream_wait)(Stream stream) = nullptr;
  int (*module_load)(Module* module, const void* image) = nullptr;
  int (*module_unload)(Module module) = nullptr;
  int (*module_function)(Function* function, Module module, const char* name) = nullptr;
  int (*launch)(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream, void** arguments,
                void** extra) = nullptr;
};

/// Numbers of the driver that are told apart here.
inline constexpr int kOutOfMemory = 2;
inline constexpr int kFunctionNotFound = 500;
/// Attributes of a card.
inline constexpr int kMultiprocessors = 16, kCapabilityMajor = 75, kCapabilityMinor = 76;

/// Opens the first of `libraries` that is there; it stays open. Errors: kNotFound, none is there, in the loader's
/// words for each; kFailedPrecondition, the library lacks a function.
Result<Driver> load_driver(const std::vector<std::string>& libraries);

/// Errors: kResourceExhausted, the card is out of memory; kInternal otherwise; the message names `what` and the error.
Status check(const Driver& driver, int error, std::string_view what);

}  // namespace commissure::cuda
