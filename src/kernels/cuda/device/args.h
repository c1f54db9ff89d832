#pragma once

/// What kernels are launched with: one struct each, passed by value. The host and the device sources include it, so it
/// knows no library.
#if defined(__CUDACC_RTC__)
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef unsigned long size_t;
#else
#include <stddef.h>
#include <stdint.h>
#endif

namespace commissure::cuda {

/// Weights are packed for the tensor cores in tiles of 16 rows and blocks of 32 columns. A tile's blocks lie chain by
/// chain (decision 1: block index mod 4), so that each of four warps reads one stream.
constexpr int kTileRows = 16;
constexpr int kBlock = 32;
constexpr int kChains = 4;
/// Columns (rows of x) that one matrix instruction takes.
constexpr int kTileColumns = 8;
constexpr int kWarp = 32;

/// Block formats, in the order of kFormats. Kernels' names end in the format's.
enum Format : int { kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K, kQ6_K, kNF4, kMXFP4, kBF16 };

/// What a format stores. y = d * (q - bias) [+ m]; K formats have 8 blocks under one d (and dmin) and integer scales.
struct FormatTraits {
  int bits;
  int bias;
  bool has_minimum;
  bool is_k;
  bool has_half_scale;        ///< an integer scale for 16 values instead of 32
  int per_unit;               ///< blocks of 32 that a checkpoint stores together
  int stored_bytes;           ///< of such a unit
  bool has_exponent = false;  ///< d is a byte, an exponent of two
};

constexpr FormatTraits traits_of(int format) {
  constexpr FormatTraits kTraits[] = {
      {4, 8, false, false, false, 1, 18},       {4, 0, true, false, false, 1, 20},  {5, 16, false, false, false, 1, 22},
      {5, 0, true, false, false, 1, 24},        {8, 0, false, false, false, 1, 34}, {4, 0, true, true, false, 8, 144},
      {5, 0, true, true, false, 8, 176},        {6, 32, false, true, true, 8, 210}, {4, 0, false, false, false, 2, 34},
      {4, 0, false, false, false, 1, 17, true}, {16, 0, false, false, false, 1, 64}};
  return kTraits[format];
}

/// Column tiles that a block of threads of a format's many-column kernel takes: as many as fit its registers.
constexpr int many_tiles(int format) { return format == kQ6_K || traits_of(format).has_minimum ? 4 : 8; }
constexpr int kMaxTiles = 8;

/// Bytes a lane holds of a block's 16 x 32 integers: nibbles (or bytes), and the bits above them.
constexpr int quant_bytes(const FormatTraits& t) { return t.bits == 8 ? 16 : 8; }
constexpr int high_bytes(const FormatTraits& t) { return t.bits == 5 ? 2 : t.bits == 6 ? 4 : 0; }
/// Bytes of a row's scales: f16 d [and m], or an exponent; K formats: the integer scale and minimum, or the two half
/// scales.
constexpr int scale_bytes(const FormatTraits& t) {
  if (t.has_exponent) return 1;
  return t.has_minimum && !t.is_k ? 4 : 2;
}
/// Bytes of a row's scales over eight blocks of a K format: f16 d [and dmin].
constexpr int super_bytes(const FormatTraits& t) { return !t.is_k ? 0 : t.has_minimum ? 4 : 2; }

/// Where the parts of a packed matrix lie, in bytes from its start.
///   quants  [tile][chain][per_chain][lane][quant_bytes]
///   high    [tile][chain][per_chain][lane][high_bytes]
///   scales  [tile][chain][per_chain][16 rows][scale_bytes]
///   supers  [tile][n_blocks / 8][16 rows][super_bytes]
/// Blocks that fill up the chains are zero, and so are the scales of rows that fill up the last tile.
struct PackedLayout {
  int n_tiles, n_blocks, per_chain;
  size_t high, scales, supers, n_bytes;
};

constexpr PackedLayout packed_layout(int format, int n_rows, int n_cols) {
  const FormatTraits t = traits_of(format);
  PackedLayout layout{};
  layout.n_tiles = (n_rows + kTileRows - 1) / kTileRows;
  layout.n_blocks = n_cols / kBlock;
  layout.per_chain = (layout.n_blocks + kChains - 1) / kChains;
  const size_t n_slots = static_cast<size_t>(layout.n_tiles) * kChains * static_cast<size_t>(layout.per_chain);
  layout.high = n_slots * kWarp * static_cast<size_t>(quant_bytes(t));
  layout.scales = layout.high + n_slots * kWarp * static_cast<size_t>(high_bytes(t));
  layout.supers = layout.scales + n_slots * kTileRows * static_cast<size_t>(scale_bytes(t));
  layout.n_bytes = layout.supers + static_cast<size_t>(layout.n_tiles) * static_cast<size_t>(layout.n_blocks / 8) *
                                       kTileRows * static_cast<size_t>(super_bytes(t));
  return layout;
}

struct RepackArgs {
  const uint8_t* from;  ///< rows as a checkpoint stores them
  uint8_t* to;          ///< zero-filled, packed_layout().n_bytes
  int n_rows, n_cols;
};

/// Rows of x on their way into products: [n_columns, n_cols] f32.
struct PackInputArgs {
  const float* x;
  int x_stride;
  int n_cols;
  int n_columns;
  int n_planes;
  uint8_t* values;  ///< fragments [column tile][plane][block][lane][8 (int8) or 16 (bf16) bytes]
  float* scales;    ///< d, as [column tile][plane][block][8]
  float* sums;      ///< d * sum(q), likewise
};

struct ProductArgs {
  const uint8_t* weights;  ///< packed; bf16: rows of n_blocks * 32 values
  int n_rows, n_cols;
  const uint8_t* values;  ///< as PackInputArgs wrote them
  const float* scales;
  const float* sums;
  int n_columns, n_planes;
  float* out;  ///< out[column * out_stride + row]
  int out_stride;
  float* second;      ///< null, or where the second plane's products go instead of being added; laid out as out
  const float* bias;  ///< null, or added to the finished product
  float scale;        ///< then multiplied, unless 1
};

/// f32 inputs times float weights: rows of `stride` values, zeros beyond n_cols.
struct FloatProductArgs {
  const void* weights;
  size_t stride;
  int n_rows, n_cols;
  const float* x;
  int x_stride, n_columns;
  float* out;
  int out_stride;
  const float* bias;
  float scale;
};

struct EmbedArgs {
  const void* weights;
  size_t stride;  ///< of float rows
  int n_rows, n_cols;
  const int32_t* tokens;
  float scale;
  float* out;
  int out_stride;
};

struct NormArgs {
  const float* x;
  int x_stride, n_cols;
  const float* weight;
  float eps;
  float* out;
  int out_stride;
};

struct RopeTableArgs {
  const float* frequencies;
  int n_pairs;
  float magnitude, growth, growth_context;
  const int32_t* positions;
  float* out;
  int out_stride;
};

struct NormRopeArgs {
  float* x;
  int x_stride, head_dim;
  const float* norm;  ///< or null
  float eps;
  const float* table;
  int table_stride, n_pairs, interleaved;
};

/// Activations of a gate.
enum Gate : int { kSiluGate, kGeluGate, kClampedGate, kSigmoidGate };

struct GatedArgs {
  const float* gate;
  const float* up;
  float* out;
  int gate_stride, up_stride, out_stride, n_cols, activation;
};

struct AddArgs {
  float* x;
  const float* y;
  int x_stride, y_stride, n_cols;
  const float* norm;  ///< or null
  float eps;
  int rounds;
};

struct ScaleArgs {
  float* x;
  const float* factor;  ///< one value
  int stride, n_cols;
};

struct GatherArgs {
  const float* x;
  const int32_t* rows;
  float* out;
  int x_stride, out_stride, n_cols;
};

struct Bf16Args {
  const float* from;
  uint16_t* packed;
  float* to;
  int stride, n_cols;
};

/// The KV cache: blocks of 64 positions; per kv head keys, values and, for int8, their scales. Keys and values lie in
/// the order of the tensor cores' B operand (attention.cu).
constexpr int kPositions = 64;
constexpr int kSpanBlocks = 4;
constexpr int kQueries = 16;  ///< rows times heads of one kv head, of one sequence, that fold together

struct KvArgs {
  uint8_t* data;
  size_t head_bytes;  ///< of one kv head's part of a block
  int n_kv_heads, head_dim;
};

struct AppendArgs {
  const float* keys;
  const float* values;
  int key_stride, value_stride;
  const int32_t* positions;  ///< of each row
  const int32_t* tables;     ///< where in `blocks` each row's table begins
  const int32_t* blocks;
  KvArgs kv;
};

/// 16 queries of one sequence and the spans of 256 positions to fold; query i is row i / heads_per_kv, head
/// i % heads_per_kv.
struct AttendItem {
  int32_t first_row, first_position;  ///< of the sequence's first row
  int32_t seen_to;                    ///< where what all its queries see ends; 0: with each query's own position
  int32_t first_query, n_queries;     ///< n_queries: of the whole sequence's rows
  int32_t table;                      ///< where in `blocks`
  int32_t first_span, last_span;
  int32_t partial;  ///< -1: the item makes the output; else its spans' results go to `partials` from this index on
};

struct AttendArgs {
  const float* q;
  float* out;
  int q_stride, out_stride;
  int heads_per_kv, window;
  float scale, softcap;
  const int32_t* blocks;
  const AttendItem* items;
  float* partials;  ///< [partial][kv head][16 queries][width + 2]
  KvArgs kv;
  const float* sinks;  ///< null, or one more score of every head's queries, which has no value
};

/// Joins the spans that several items folded: item i has first_span .. last_span of one tile from `partial` on.
struct JoinArgs {
  const AttendItem* items;
  const float* partials;
  float* out;
  int out_stride, heads_per_kv, n_kv_heads, head_dim;
  const float* sinks;  ///< as AttendArgs
};

struct ScatterArgs {
  float* x;
  const float* y;
  const int32_t* rows;
  const float* weights;
  int x_stride, y_stride, n_cols;
};

/// Words of a lane that the kernel self_check writes.
constexpr int kCheckWords = 14;

struct CheckArgs {
  const uint32_t* words;  ///< [32 lanes][4], then [32 lanes][2]
  uint32_t* out;          ///< [32 lanes][kCheckWords]
};

struct SoftCapArgs {
  float* x;
  int stride, n_cols;
  float cap;
};

struct RefineArgs {
  float* logits;
  const float* second;
  const int32_t* targets;  ///< one per row, -1: none
  int stride, n_outputs;
  float range;
  float cap;  ///< of the soft cap that comes after, or 0: the range is one of capped logits
};

}  // namespace commissure::cuda
