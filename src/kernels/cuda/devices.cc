#include "kernels/devices.h"

#include <algorithm>

#include "kernels/cuda/choose_device.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/driver_library.h"

namespace commissure {

namespace {

constexpr int kFirstCard = 0;

Error unusable(const Error& why) {
  return Error(Code::kFailedPrecondition, "no GPU can be used: ", why.message(),
               "; DEVICE=cpu (--device cpu) computes on the CPU");
}

Result<cuda::Driver> load_driver() {
  if (cuda::cubins().empty()) {
    return Error(Code::kFailedPrecondition, "this program was built without kernels for GPUs (COMMISSURE_CUDA)");
  }
  auto driver = cuda::load_driver(driver_libraries());
  if (driver) return driver;
  return Error(Code::kFailedPrecondition,
               "looked for the driver as libcuda.so.1 and in /usr/local/nvidia/lib64: ", driver.error().message());
}

Status find_first_card() {
  TRY(cuda::find_card(TRY(load_driver()), cuda::cubins(), kFirstCard));
  return {};
}

Result<ChosenDevice> open_gpu(const std::function<Result<cuda::Driver>()>& load, std::span<const cuda::Cubin> cubins) {
  auto device = TRY(cuda::Device::open(TRY(load()), cubins, kFirstCard));
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
  const Status found = find_first_card();
  if (!found) return unusable(found.error());
  return {};
}

Result<ChosenDevice> cuda::choose_device(std::string_view device, const CpuOptions& cpu,
                                         const std::function<Result<Driver>()>& load, std::span<const Cubin> cubins) {
  if (!is_device_name(device)) return Error(Code::kInvalidArgument, "no device ", device, "; choose cpu, cuda or auto");
  std::string why = "asked for";
  if (device != "cpu") {
    auto made = open_gpu(load, cubins);
    if (made) return made;
    if (device == "cuda") return unusable(made.error());
    why = made.error().message();
  }
  auto backend = TRY(make_cpu_backend(cpu));
  std::string reason = "CPU (" + backend->info().isa + "): " + why;
  return ChosenDevice{std::move(backend), std::move(reason), {}, {}, {}};
}

Result<ChosenDevice> make_device(std::string_view device, const CpuOptions& cpu) {
  return cuda::choose_device(device, cpu, load_driver, cuda::cubins());
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
