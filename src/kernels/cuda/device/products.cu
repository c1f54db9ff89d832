#include "kernels/cuda/device/products.cuh"

/// The product kernels: product_<format>_<column tiles>, and product_<format>_many for more columns.
namespace commissure::cuda {

#define PRODUCT_KERNELS(name, format)                                                        \
  KERNEL(ProductArgs, kProductThreads, product_##name##_1) { few_columns<format, 1>(args); } \
  KERNEL(ProductArgs, kProductThreads, product_##name##_2) { few_columns<format, 2>(args); } \
  KERNEL(ProductArgs, kProductThreads, product_##name##_4) { few_columns<format, 4>(args); } \
  KERNEL(ProductArgs, kProductThreads, product_##name##_8) { few_columns<format, 8>(args); } \
  KERNEL(ProductArgs, kProductThreads, product_##name##_many) { ManyColumns<format, many_tiles(format)>::run(args); }

PRODUCT_KERNELS(q4_0, kQ4_0)
PRODUCT_KERNELS(q4_1, kQ4_1)
PRODUCT_KERNELS(q5_0, kQ5_0)
PRODUCT_KERNELS(q5_1, kQ5_1)
PRODUCT_KERNELS(q8_0, kQ8_0)
PRODUCT_KERNELS(q4_k, kQ4_K)
PRODUCT_KERNELS(q5_k, kQ5_K)
PRODUCT_KERNELS(q6_k, kQ6_K)
PRODUCT_KERNELS(nf4, kNF4)
PRODUCT_KERNELS(mxfp4, kMXFP4)
PRODUCT_KERNELS(bf16, kBF16)

}  // namespace commissure::cuda
