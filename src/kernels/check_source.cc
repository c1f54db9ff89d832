#include "kernels/check_source.h"

namespace commissure {

Status check_shape(const MatrixSource& source, bool has_kernels) {
  if (!has_kernels) {
    return Error(Code::kUnimplemented, source.name, ": no kernel for ", dtype_name(source.dtype), " weights");
  }
  // A kernel counts rows and columns in int.
  constexpr std::int64_t kMaxSide = std::int64_t{1} << 30;
  if (source.n_rows <= 0 || source.n_cols <= 0 || source.n_rows > kMaxSide || source.n_cols > kMaxSide) {
    return Error(Code::kInvalidArgument, source.name, ": impossible shape [", source.n_rows, ", ", source.n_cols, "]");
  }
  const int per_block = block_size(source.dtype).n_elements;
  if (source.n_cols % per_block != 0) {
    return Error(Code::kInvalidArgument, source.name, ": rows of ", source.n_cols, " values cannot be ",
                 dtype_name(source.dtype), ", whose blocks hold ", per_block);
  }
  return {};
}

Status check_stored(const MatrixSource& source, bool has_kernels) {
  TRY(check_shape(source, has_kernels));
  // At most 2^30 * 2^32: no overflow.
  const std::size_t n_bytes = to_size(source.n_rows) * row_bytes(source.dtype, source.n_cols);
  if (n_bytes == source.data.bytes.size()) return {};
  return Error(Code::kInvalidArgument, source.name, ": ", source.data.bytes.size(), " bytes for ", source.n_rows, " x ",
               source.n_cols, " ", dtype_name(source.dtype), " values, expected ", n_bytes);
}

}  // namespace commissure
