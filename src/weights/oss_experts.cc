#include "weights/oss_experts.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/index.h"
#include "weights/header_reader.h"

namespace commissure {
namespace {

// All far above every published model. Each matrix holds its name some times.
constexpr std::size_t kMaxMatrices = 1 << 17;
constexpr std::int64_t kMaxExperts = 4096;  // as model/raw_spec.cc
constexpr std::size_t kMaxNameBytes = 256;
constexpr std::int64_t kCodeBytes = 16;  // of a block of 32 values

constexpr std::string_view kExperts = ".mlp.experts.";

/// "gate_up_proj" or "down_proj" of a name "...mlp.experts.gate_up_proj_blocks"; empty where it is neither, as of a
/// name that is too long for any.
std::string_view kind_of(std::string_view name, std::string_view suffix) {
  const std::size_t at = name.size() > kMaxNameBytes ? std::string_view::npos : name.find(kExperts);
  if (at == std::string_view::npos || !name.ends_with(suffix)) return {};
  name.remove_suffix(suffix.size());
  name.remove_prefix(at + kExperts.size());
  return name == "gate_up_proj" || name == "down_proj" ? name : std::string_view();
}

Error no_experts(const TensorInfo& tensor) {
  return Error(Code::kInvalidArgument, "tensor ", printable(tensor.name), " of shape ", shape_text(tensor.shape),
               " is none of experts");
}

/// Matrices and biases are floats here, not what else may have been stored under their names.
Status refuse_other_types(const TensorInfo& tensor) {
  if (tensor.dtype == DType::kF32 || tensor.dtype == DType::kF16 || tensor.dtype == DType::kBF16) return {};
  return Error(Code::kInvalidArgument, "tensor ", printable(tensor.name), " of type ", dtype_name(tensor.dtype),
               " is none of experts, which have F32, F16 or BF16");
}

/// Expert `i` of n: a share of the tensor's bytes.
TensorInfo share_of(const TensorInfo& tensor, std::int64_t i, std::vector<std::int64_t> shape) {
  TensorInfo share = tensor;
  share.n_bytes = tensor.n_bytes / static_cast<std::uint64_t>(tensor.shape[0]);
  share.offset += static_cast<std::uint64_t>(i) * share.n_bytes;
  share.shape = std::move(shape);
  return share;
}

/// Finds all experts and keeps what it found.
class Finder {
 public:
  explicit Finder(const std::map<std::string, TensorInfo>& bytes) : bytes_(bytes) {}

  Status add_blocks(const TensorInfo& codes) {
    const std::string_view kind = kind_of(codes.name, "_blocks");
    const std::string base = codes.name.substr(0, codes.name.size() - std::string_view("_blocks").size());
    const auto scales = bytes_.find(base + "_scales");
    if (scales == bytes_.end()) {
      return Error(Code::kDataLoss, "tensor ", printable(base + "_scales"), " is missing (the file is incomplete)");
    }
    if (codes.shape.size() != 4 || codes.shape[3] != kCodeBytes || !is_possible(codes, kind, codes.shape[1])) {
      return no_experts(codes);
    }
    const std::int64_t n_rows = codes.shape[1], n_blocks = codes.shape[2];
    if (scales->second.shape != std::vector<std::int64_t>{codes.shape[0], n_rows, n_blocks}) {
      return no_experts(scales->second);
    }
    TRY(check_count(codes));
    for (std::int64_t i = 0; i < codes.shape[0]; ++i) {
      OssLayout layout = {.form = OssLayout::Form::kBlocks, .has_pairs = kind == "gate_up_proj"};
      layout.scales = share_of(scales->second, i, {n_rows, n_blocks});
      add_matrix(base, kind, i, DType::kMXFP4, {n_rows, 32 * n_blocks},
                 share_of(codes, i, {n_rows, kCodeBytes * n_blocks}), std::move(layout));
    }
    found_.replaced.push_back(codes.name);
    found_.replaced.push_back(scales->first);
    return {};
  }

  Status add_floats(const TensorInfo& tensor, std::string_view kind) {
    TRY(refuse_other_types(tensor));
    if (tensor.shape.size() != 3 || !is_possible(tensor, kind, tensor.shape[2])) return no_experts(tensor);
    TRY(check_count(tensor));
    const std::int64_t n_in = tensor.shape[1], n_out = tensor.shape[2];
    for (std::int64_t i = 0; i < tensor.shape[0]; ++i) {
      add_matrix(tensor.name, kind, i, tensor.dtype, {n_out, n_in}, share_of(tensor, i, {n_in, n_out}),
                 {.form = OssLayout::Form::kTransposed, .has_pairs = kind == "gate_up_proj"});
    }
    found_.replaced.push_back(tensor.name);
    return {};
  }

  Status add_biases(const TensorInfo& tensor, std::string_view kind) {
    TRY(refuse_other_types(tensor));
    if (tensor.shape.size() != 2 || !is_possible(tensor, kind, tensor.shape[1])) return no_experts(tensor);
    OssTensor made = {tensor, tensor, std::nullopt};
    made.tensor.name[tensor.name.size() - std::string_view("_bias").size()] = '.';
    if (kind == "gate_up_proj") made.layout = {.form = OssLayout::Form::kVectors, .has_pairs = true};
    found_.made.push_back(std::move(made));
    found_.replaced.push_back(tensor.name);
    return {};
  }

  OssTensors take() { return std::move(found_); }

 private:
  static bool is_possible(const TensorInfo& tensor, std::string_view kind, std::int64_t n_outputs) {
    return std::ranges::all_of(tensor.shape, [](std::int64_t size) { return size > 0; }) &&
           (kind != "gate_up_proj" || n_outputs % 2 == 0) && tensor.shape[0] <= kMaxExperts;
  }

  /// Before the experts of one more tensor are added.
  Status check_count(const TensorInfo& next) const {
    if (found_.made.size() + to_size(next.shape[0]) <= kMaxMatrices) return {};
    return Error(Code::kInvalidArgument, "tensor ", printable(next.name), ": the file has more than ", kMaxMatrices,
                 " matrices of experts");
  }

  /// "P.gate_up_proj" of expert i is "P.i.gate_up_proj.weight".
  void add_matrix(std::string_view base, std::string_view kind, std::int64_t i, DType dtype,
                  std::vector<std::int64_t> shape, TensorInfo stored, OssLayout layout) {
    TensorInfo tensor = stored;
    base.remove_suffix(kind.size());
    tensor.name = fmt::format("{}{}.{}.weight", base, i, kind);
    tensor.dtype = dtype;
    tensor.n_bytes = to_size(shape[0]) * row_bytes(dtype, shape[1]);
    tensor.shape = std::move(shape);
    found_.made.push_back({std::move(tensor), std::move(stored), std::move(layout)});
  }

  const std::map<std::string, TensorInfo>& bytes_;
  OssTensors found_;
};

}  // namespace

bool is_gpt_oss(const Json& config) {
  const Json* type = config.is_object() ? find_member(config, "model_type") : nullptr;
  return type != nullptr && *type == "gpt_oss";
}

Result<OssTensors> find_oss_experts(const std::map<std::string, TensorInfo>& bytes,
                                    const std::vector<TensorInfo>& floats) {
  Finder finder(bytes);
  for (const auto& [name, tensor] : bytes) {
    if (!kind_of(name, "_blocks").empty()) TRY(finder.add_blocks(tensor));
  }
  for (const TensorInfo& tensor : floats) {
    if (const auto kind = kind_of(tensor.name, ""); !kind.empty()) TRY(finder.add_floats(tensor, kind));
    if (const auto kind = kind_of(tensor.name, "_bias"); !kind.empty()) TRY(finder.add_biases(tensor, kind));
  }
  return finder.take();
}

}  // namespace commissure
