#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "kernels/cuda/cubins.h"
#include "kernels/cuda/driver.h"
#include "kernels/devices.h"

namespace commissure::cuda {

/// make_device() (devices.h) with the driver and the machine code handed in. `load` is called for any `device` but the
/// CPU, and the driver is then asked once.
Result<ChosenDevice> choose_device(std::string_view device, const CpuOptions& cpu,
                                   const std::function<Result<Driver>()>& load, std::span<const Cubin> cubins);

}  // namespace commissure::cuda
