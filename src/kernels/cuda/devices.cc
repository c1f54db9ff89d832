#include "kernels/devices.h"

#include <algorithm>

#include "kernels/cuda/cubins.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/driver.h"

namespace commissure {

namespace {

constexpr int kFirstCard = 0;

Error unusable(const Error& why) {
  return Error(Code::kFailedPrecondition, "no GPU can be used: ", why.message(),
               "; DEVICE=cpu (--device cpu) computes on the CPU");
}

Result<cuda::Driver> usable_driver() {
  if (cuda::cubins().empty()) {
    return Error(Code::kFailedPrecondition, "this program was built without kernels for GPUs (COMMISSURE_CUDA)");
  }
  auto driver = cuda::load_driver(cuda::driver_libraries());
  if (!driver) {
    return Error(Code::kFailedPrecondition,
                 "looked for the driver as libcuda.so.1 and in /usr/local/nvidia/lib64: ", driver.error().message());
  }
  TRY(cuda::find_card(*driver, cuda::cubins(), kFirstCard));
  return driver;
}

Result<ChosenDevice> make_gpu(const cuda::Driver& driver) {
  auto device = TRY(cuda::Device::open(driver, cuda::cubins(), kFirstCard));
  const std::string isa = "sm_" + std::to_string(device->arch());
  const std::string name = device->name();
  auto backend = std::make_unique<cuda::CudaBackend>(std::move(device), isa);
  const auto health = [card = backend.get()] { return card->health(); };
  const auto free_bytes = [card = backend.get()] { return card->free_bytes(); };
  return ChosenDevice{std::move(backend),
                      "GPU " + name + " (" + isa + "), with kernels that were tried by emulation only", name, health,
                      free_bytes};
}

}  // namespace

bool is_device_name(std::string_view name) { return name == "cpu" || name == "cuda" || name == "auto"; }

Status check_gpu() {
  const auto driver = usable_driver();
  if (!driver) return unusable(driver.error());
  return {};
}

Result<ChosenDevice> make_device(std::string_view device, const CpuOptions& cpu) {
  if (!is_device_name(device)) return Error(Code::kInvalidArgument, "no device ", device, "; choose cpu, cuda or auto");
  std::string why = "asked for";
  if (device != "cpu") {
    const auto driver = usable_driver();
    if (driver) {
      auto made = make_gpu(*driver);
      if (made || device == "cuda") return made;
      why = made.error().message();
    } else if (device == "cuda") {
      return unusable(driver.error());
    } else {
      why = driver.error().message();
    }
  }
  auto backend = TRY(make_cpu_backend(cpu));
  std::string reason = "CPU (" + backend->info().isa + "): " + why;
  return ChosenDevice{std::move(backend), std::move(reason), {}, {}, {}};
}

std::vector<int> gpu_kernels() {
  std::vector<int> archs;
  for (const cuda::Cubin& cubin : cuda::cubins()) {
    if (std::ranges::find(archs, cubin.arch) == archs.end()) archs.push_back(cubin.arch);
  }
  std::ranges::sort(archs);
  return archs;
}

bool run_on_card(std::span<const int> kernels, int major, int minor) {
  return std::ranges::any_of(kernels, [&](int arch) { return cuda::runs_on(arch, 10 * major + minor); });
}

}  // namespace commissure
