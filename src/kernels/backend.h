#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "core/dtype.h"
#include "core/index.h"
#include "core/result.h"
#include "kernels/clamped_swiglu.h"
#include "kernels/kv_type.h"

/// The operations that every device implements. Buffers are opaque, operations are queued, and a step waits for the
/// device in fetch(), at its end; where the host has a say in the midst of it (experts), in peek(). Nothing outside
/// src/kernels may follow a DevicePtr.
///
/// Contract of every operation: a row's result depends on that row alone, bit for bit. It never depends on how many
/// other rows are in the batch, how a prompt was cut into chunks, or how many threads the device uses.
namespace commissure {

class Backend;
class LowRank;
struct LowRankSource;
struct LowRankJob;

/// An address that only the backend which made it can follow. Offsets are in bytes.
struct DevicePtr {
  std::uintptr_t value = 0;
  explicit operator bool() const { return value != 0; }
  DevicePtr offset(std::size_t n_bytes) const { return {value + n_bytes}; }
};

/// Device memory with one owner.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Backend& backend, DevicePtr ptr, std::size_t n_bytes)
      : backend_(&backend), ptr_(ptr), n_bytes_(n_bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer();

  DevicePtr ptr() const { return ptr_; }
  std::size_t n_bytes() const { return n_bytes_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(ptr_, other.ptr_);
    std::swap(n_bytes_, other.n_bytes_);
  }
  Backend* backend_ = nullptr;
  DevicePtr ptr_;
  std::size_t n_bytes_ = 0;
};

/// f32 rows in device memory, [n_rows, n_cols], rows `stride` floats apart.
struct Rows {
  DevicePtr data;
  int n_rows = 0;
  int n_cols = 0;
  int stride = 0;

  static Rows dense(DevicePtr data, int n_rows, int n_cols) { return {data, n_rows, n_cols, n_cols}; }
  /// Rows [first, first + n).
  Rows slice(int first, int n) const {
    return {data.offset(n_elements(first, stride) * sizeof(float)), n, n_cols, stride};
  }
  /// Columns [first, first + n) of every row.
  Rows columns(int first, int n) const { return {data.offset(first * sizeof(float)), n_rows, n, stride}; }
};

/// Bytes of a tensor in host memory, kept alive by `owner` (a mapping, or a buffer the reader filled).
struct HostBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // shared: a mapping serves many tensors
};

/// A weight matrix as a checkpoint stores it: row-major [n_rows = outputs, n_cols = inputs].
struct MatrixSource {
  std::string name;  ///< for errors
  DType dtype = DType::kF32;
  std::int64_t n_rows = 0;
  std::int64_t n_cols = 0;
  HostBytes data;         ///< empty: only products are asked of the matrix, and `packed` is enough for them
  HostBytes packed = {};  ///< the same matrix as the backend's pack_matrix() wrote it, or empty
  HostBytes screen = {};  ///< of a head (output matrix): what pack_screen() wrote, or empty
};

/// A weight matrix resident on a device, in whatever layout the device likes. May alias the source's bytes.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual std::int64_t n_rows() const = 0;
  virtual std::int64_t n_cols() const = 0;
  virtual DType dtype() const = 0;
};

/// One product: out[r] = (weight x[r] + bias) * scale for all rows r of x. Jobs given together read the same x and
/// share its preparation and one pass over the threads.
struct MatmulJob {
  const Matrix* weight = nullptr;
  Rows out;             ///< [n_rows(x), weight->n_rows()]
  DevicePtr bias = {};  ///< f32 [weight->n_rows()], added in f32 to the finished product; null: none
  float scale = 1.0f;   ///< multiplies the finished sum
};

/// How positions turn into rotation angles. Source: RoFormer, arXiv:2104.09864; `frequencies` carries any scaling
/// (linear, llama3, yarn) already.
struct RopeSpec {
  std::vector<float> frequencies;  ///< radians per position for each rotated pair
  float magnitude = 1.0f;          ///< multiplies cos and sin (yarn's attention factor)
  bool interleaved = false;        ///< pairs (2i, 2i+1) instead of (i, i + n/2)
  /// With growth > 0, cos and sin are also multiplied by 1 + growth ln(1 + floor(position / growth_context)): a head
  /// that turns whole grows with the logarithm of its position (Llama 4's scaling of queries).
  float growth = 0.0f;
  float growth_context = 0.0f;
  bool operator==(const RopeSpec&) const = default;
};

/// One sequence's rows of a step, or some of these, for the kernels. Rows of one sequence that see different things (an
/// image's, and the text's around them) are spans of their own, in order of position; only in models without recurrent
/// layers.
struct SequenceSpan {
  int first_row = 0;
  int n_rows = 0;
  int first_position = 0;
  /// Block table: entry i is the block that holds positions [64 i, 64 i + 64). An entry whose positions all lie before
  /// the attention window of every row is never read: it may be -1, or a block that another sequence has by now.
  std::vector<std::int32_t> blocks;
  // Of a sequence in a model with recurrent layers: places in their StateLayer. What was there is lost in `state_to`.
  std::int32_t state_from = -1;  ///< the state in front of the first row; -1: zeros
  std::int32_t state_to = -1;    ///< gets the state behind the last row; not state_from
  /// Positions that every row of the span sees, also those behind it; 0: each row sees those up to its own. Not below
  /// the end of the span, and the blocks reach it.
  int seen_to = 0;

  /// One behind the last position that the span's rows see.
  int seen_end() const { return seen_to > 0 ? seen_to : first_position + n_rows; }
};

/// The step's integers as a caller states them.
struct StepShape {
  std::vector<std::int32_t> tokens;     ///< one per row; used by embed
  std::vector<SequenceSpan> sequences;  ///< rows in order, without gaps
  int n_rows() const { return count_of(tokens); }
};

/// A StepShape resident on the device. Read-only, valid for operations queued while it lives.
class StepIndex {
 public:
  virtual ~StepIndex() = default;
};

/// Shape of one layer's attention.
struct HeadLayout {
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;  ///< even
};

/// One layer's KV memory: n_blocks blocks of 64 positions for all kv heads; the layout inside is the backend's.
struct KvLayer {
  DevicePtr data;
  HeadLayout heads;
  KvType type = KvType::kBF16;
};

/// Shape of a gated delta net, which takes the place of attention in some layers: instead of keys and values of all
/// rows it keeps one state. A row of its channels is queries [n_key_heads, key_dim], as many keys, and values
/// [n_value_heads, value_dim].
struct DeltaShape {
  int n_key_heads = 0;
  int n_value_heads = 0;  ///< a multiple of n_key_heads; 0: there is no delta net
  int key_dim = 0;        ///< a multiple of 16, as value_dim
  int value_dim = 0;
  int kernel = 0;         ///< rows that the convolution of the channels spans, the row itself included; 2 to kMaxKernel
  bool is_tiled = false;  ///< value head h takes key head h % n_key_heads; else neighbours share one

  static constexpr int kMaxKernel = 8;
  int key_width() const { return n_key_heads * key_dim; }
  int value_width() const { return n_value_heads * value_dim; }
  int n_channels() const { return 2 * key_width() + value_width(); }
  /// Of one sequence: the channels of the last kernel - 1 rows, then [n_value_heads, key_dim, value_dim], whose layout
  /// inside a head is the backend's.
  std::size_t state_floats() const { return n_elements(kernel - 1, n_channels()) + n_elements(value_width(), key_dim); }
  bool operator==(const DeltaShape&) const = default;
};

/// One layer's recurrent states: f32 [places, shape.state_floats()].
struct StateLayer {
  DevicePtr data;
  DeltaShape shape;
};

/// What a delta net's rows bring.
struct DeltaInputs {
  Rows channels;  ///< [n_rows, n_channels], before the convolution
  Rows decay;     ///< [n_rows, n_value_heads]; overwritten, as beta
  Rows beta;      ///< [n_rows, n_value_heads]
};

/// A delta net's own weights, all f32.
struct DeltaWeights {
  DevicePtr convolution;  ///< [kernel, n_channels]: the row itself comes last
  DevicePtr rate;         ///< [n_value_heads], below 0
  DevicePtr decay_bias;   ///< [n_value_heads]
};

struct AttendOptions {
  float scale = 1.0f;    ///< multiplies q.k
  int window = 0;        ///< 0: all earlier positions; W: only keys with query - key < W
  float softcap = 0.0f;  ///< 0: none; else a scaled q.k becomes softcap * tanh(q.k / softcap)
  /// Queries and weights meet keys and values in f32 instead of rounded to bf16; the reference always does so.
  bool keeps_f32 = false;
  /// f32 [n_heads], or null: one more score of every query of a head, which has no value: it only takes a share of the
  /// weights. Source: gpt-oss's attention sinks.
  DevicePtr sinks = {};
};

/// The form in which a matmul multiplies its input x. With quantised weights: x rounded to int8 with one scale per 32
/// values (one plane), or so rounded and its rounding error as a second int8 plane (about 16 bits; twice the integer
/// work). With bf16 weights: x rounded to bf16, under kAll x in f32. f16 and f32 weights always multiply x in f32; so
/// do bf16 weights in the generic kernels and all weights in the reference.
enum class InputPlanes {
  kOne,
  kTwo,
  kAll,  ///< two planes, and f32 where weights are floats: as close to f32 as the device comes
};

/// What the caller reads of one row of logits().
struct LogitsUse {
  std::int32_t target = -1;  ///< the output whose logit is scored; -1: none
  int n_largest = 0;         ///< the caller reads this many largest logits; 0: it reads all
};

/// A logit this far below the row's largest, or nearer, is computed with two planes of x; farther below, with one. A
/// token at this distance weighs e^-8 = 0.03 % of the likeliest one.
inline constexpr float kRefinedRange = 8.0f;

/// kClampedSwiglu: with g the gate, at most kSwigluLimit, and u cut to +-kSwigluLimit, g sigmoid(kSwigluAlpha g) (u +
/// 1). Source: gpt-oss. kSigmoid: sigmoid(g) u.
enum class Activation { kSilu, kGeluTanh, kClampedSwiglu, kSigmoid };

/// What a device is and how it computes; goes into the handshake and into status.
struct BackendInfo {
  std::string device;  ///< "cpu", "cuda"
  std::string isa;     ///< "reference", "generic", "avx2", "avx512", "amx"; of a GPU its kind: "sm_89"
  int n_threads = 1;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual BackendInfo info() const = 0;

  /// Announces a step within some 100 us: wakes the backend's sleeping threads. Threading: any thread.
  virtual void wake() {}

  // --- memory -------------------------------------------------------------------------------------------------

  /// Zero-filled, 64-byte aligned; pages become resident when first written. Errors: kResourceExhausted.
  virtual Result<DeviceBuffer> allocate(std::size_t n_bytes) = 0;
  virtual void release(DevicePtr ptr, std::size_t n_bytes) = 0;

  /// Host to device. The host bytes may be reused on return.
  virtual void upload(DevicePtr to, std::span<const std::byte> from) = 0;

  /// Errors: kInvalidArgument, the bytes (stored or packed) do not match dtype and shape; kUnimplemented, no kernel for
  /// this dtype.
  virtual Result<std::unique_ptr<Matrix>> load_matrix(const MatrixSource& source) = 0;

  /// Name and version of the layout that pack_matrix() writes; empty: the device reads matrices as stored only.
  virtual std::string packed_layout() const { return {}; }
  /// Bytes of the matrix in the layout of packed_layout(); 0: the device reads this matrix as stored. The source's
  /// shape need not be checked before.
  virtual std::size_t packed_bytes(const MatrixSource&) const { return 0; }
  /// Writes the packed matrix: packed_bytes() bytes, when that is not 0. Packed or as stored, products have the same
  /// bits.
  virtual void pack_matrix(const MatrixSource&, std::span<std::byte>) {}

  /// Bytes of a head's screen: a coarse copy of the matrix that tells which outputs can be among a row's largest, so
  /// that the device need not read the others. 0: the device reads the whole head.
  virtual std::size_t screen_bytes(const MatrixSource&) const { return 0; }
  /// Writes the screen: screen_bytes() bytes, when that is not 0. False: the matrix's values allow no screen.
  virtual bool pack_screen(const MatrixSource&, std::span<std::byte>) { return false; }

  /// A vector (norm weights, a bias) as f32 on the device, with `add` added to each value (1 for (1 + w)
  /// norms) and then multiplied by `scale`.
  virtual Result<DeviceBuffer> load_vector(const MatrixSource& source, float add, float scale) = 0;
  Result<DeviceBuffer> load_vector(const MatrixSource& source, float add) { return load_vector(source, add, 1.0f); }

  /// An adapter's share of a matrix (kernels/low_rank.h), copied to the device. Any thread, also while operations run.
  /// Errors: kUnimplemented, the device takes no adapters; kInvalidArgument, shapes or bytes do not fit;
  /// kResourceExhausted.
  virtual Result<std::unique_ptr<LowRank>> load_low_rank(const LowRankSource&);

  /// Whether attention takes such heads; asked before weights are loaded. Errors: kUnimplemented.
  virtual Status check_heads(const HeadLayout&) const { return {}; }
  /// The same of a delta net.
  virtual Status check_delta(const DeltaShape&) const { return {}; }

  /// Bytes of one KV block of one layer.
  virtual std::size_t kv_block_bytes(const HeadLayout& heads, KvType type) const = 0;

  virtual std::unique_ptr<StepIndex> make_step_index(const StepShape& shape) = 0;

  // --- operations, queued in order -------------------------------------------------------------------------------

  /// out[r] = scale * table[tokens[r]]. Token ids are below table.n_rows() (the caller checked).
  virtual void embed(const Matrix& table, const StepIndex& index, float scale, Rows out) = 0;

  /// out[r] = x[r] / rms(x[r]) * weight, in f32; out may be x. Source: RMSNorm, arXiv:1910.07467.
  virtual void rms_norm(Rows x, DevicePtr weight, float eps, Rows out) = 0;

  /// Whether there is a layer_norm(): image encoders alone ask for it, and these compute on CPUs.
  virtual bool has_layer_norm() const { return false; }
  /// out[r] = (x[r] - mean) / sqrt(variance + eps) * weight + bias, both taken over x[r]; out may be x. Only where
  /// has_layer_norm(). Source: arXiv:1607.06450.
  ///   weight, bias  f32 [n_cols]
  virtual void layer_norm(Rows /*x*/, DevicePtr /*weight*/, DevicePtr /*bias*/, float /*eps*/, Rows /*out*/) {
    CHECK(has_layer_norm());
  }

  /// Computes all jobs on the same x [n_rows, n_cols].
  virtual void matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) = 0;
  void matmul(Rows x, std::span<const MatmulJob> jobs) { matmul(x, jobs, InputPlanes::kOne); }

  /// Adds the shares of adapters to products that matmul() has just finished; other rows stay as they are. No row of a
  /// product is named twice. Only with what load_low_rank() made.
  ///   x  the input of all the products, in f32: it is not rounded
  virtual void add_low_rank(Rows x, std::span<const LowRankJob> jobs);

  /// The head: out[r] = weight x[r], the logits of row r. Float weights multiply x in f32. With quantised weights,
  /// logits that can matter to a draw or a score are what two planes of x give: the target's, and every logit within
  /// kRefinedRange of the row's largest; the others are what one plane gives.
  /// In a row that asks for n_largest, only its n_largest largest logits, and any logit equal to the smallest of these,
  /// are sure to have their value; every other logit may be -infinity instead.
  ///   uses     [n_rows(x)], what the caller reads of each row
  ///   softcap  0: none; else every logit y is in the end softcap * tanh(y / softcap), and the above holds of these
  virtual void logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out) = 0;
  void logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, Rows out) {
    logits(x, weight, uses, 0.0f, out);
  }

  /// cos and sin for every row of the step: out [n_rows, 2 * n_pairs], cosines first.
  virtual void rope_table(const RopeSpec& rope, const StepIndex& index, Rows out) = 0;

  /// In place on x [n_rows, n_heads * head_dim]: RMS norm of each head with weight `norm` [head_dim] when `norm` is
  /// set, then rotation by `table`, which rope_table() wrote. A rope without frequencies turns nothing and needs no
  /// table.
  virtual void norm_rope(Rows x, int n_heads, DevicePtr norm, float eps, const RopeSpec& rope, Rows table) = 0;

  /// Appends keys and values [n_rows, n_kv_heads * head_dim] at their positions, rounded to the KV type.
  virtual void append_kv(Rows keys, Rows values, const StepIndex& index, const KvLayer& layer) = 0;

  /// Causal attention of every row over its sequence's cache, which already holds the row's own key and value. Rows of
  /// a span with `seen_to` also see what lies between them and that position: it is in the cache already, too.
  ///   q, out  [n_rows, n_heads * head_dim]
  /// Keys are folded in blocks of 64 absolute positions with an online softmax (arXiv:1805.02867), four blocks make a
  /// span that may be folded apart from the others, and spans join in rising order.
  virtual void attend(Rows q, const StepIndex& index, const KvLayer& layer, const AttendOptions& options, Rows out) = 0;

  /// A gated delta net, row by row in the order of each sequence's positions, whatever the step holds, so that a row's
  /// bits depend on its sequence alone. Of a row: the channels are convolved with those of the rows before it and pass
  /// silu; every query and key head is divided by its length (its square + 1e-6), queries by sqrt(key_dim) as well.
  /// Then for each value head with its state S [key_dim, value_dim], query q, key k and value v:
  ///   S = exp(rate * softplus(decay + decay_bias)) S;  S += k sigmoid(beta) (v - S^T k)^T;  out = S^T q
  /// States come from and go to the places that the index names.
  ///   mixed  [n_rows, n_channels], scratch
  ///   out    [n_rows, n_value_heads * value_dim]
  /// Source: Gated Delta Networks, arXiv:2412.06464, in the form of Qwen 3.5.
  virtual void delta_net(const DeltaInputs& in, const DeltaWeights& weights, const StepIndex& index,
                         const StateLayer& states, Rows mixed, Rows out) = 0;

  /// out = activation(gate) * up, or as the activation says of both; out may be gate or up.
  virtual void gated(Activation activation, Rows gate, Rows up, Rows out) = 0;

  /// x = x + y, or x + rms_norm(y, norm) when `norm` is set; then rounded to bf16 when `round` is (a layer's end).
  virtual void add(Rows x, Rows y, DevicePtr norm, float eps, bool round) = 0;

  /// x = x * factor[0], rounded to bf16 (a layer's end). `factor` is one f32 on the device.
  virtual void scale(Rows x, DevicePtr factor) = 0;

  /// out[i] = x[rows[i]].
  virtual void gather(Rows x, std::span<const std::int32_t> rows, Rows out) = 0;

  /// x = 0.
  virtual void clear(Rows x) = 0;

  /// x[rows[i]] += weights[i] * y[i], fused where the device can. No row is named twice.
  virtual void scatter_add(Rows x, std::span<const std::int32_t> rows, std::span<const float> weights, Rows y) = 0;

  /// bf16 rows (dense [n_rows, n_cols]) to f32 and back; packing rounds to nearest even.
  virtual void unpack_bf16(DevicePtr from, Rows out) = 0;
  virtual void pack_bf16(Rows x, DevicePtr to) = 0;

  /// Work on the host between two steps: calls f(i, part) for every i in [0, n), perhaps on several threads. `part`,
  /// below info().n_threads, tells the threads apart; within one part i rises.
  virtual void for_each(int n, const std::function<void(int i, int part)>& f) {
    for (int i = 0; i < n; ++i) f(i, 0);
  }

  /// Waits for everything queued and makes `n_bytes` at `from` readable by the host until the next operation is
  /// queued. A CPU backend hands out the memory itself. Errors: kInternal, the device failed.
  virtual Result<std::span<const std::byte>> fetch(DevicePtr from, std::size_t n_bytes) = 0;

  /// As fetch(), but in the midst of a step: a CPU keeps its threads awake. After an error nothing that was queued runs
  /// any more, so the caller may give the step up.
  virtual Result<std::span<const std::byte>> peek(DevicePtr from, std::size_t n_bytes) { return fetch(from, n_bytes); }
};

inline DeviceBuffer::~DeviceBuffer() {
  if (backend_ != nullptr) backend_->release(ptr_, n_bytes_);
}

/// Which CPU kernels to use and how many threads.
struct CpuOptions {
  int n_threads = 0;  ///< 0: one for each core the process may run on
  /// Each thread on a core of its own, for stages that take turns on a machine's cores. A backend with a thread for
  /// every core pins its threads anyway: two threads on one core would wait for each other at every operation.
  bool pin = false;
  std::string isa;  ///< empty: the best here but "amx"; else "reference", "generic", "avx2", "avx512", "amx"
};

/// ISAs this CPU can run: "reference" first, then by width.
std::vector<std::string> available_isas();

/// Whether kernels of ISAs `a` and `b` give the same bits: every ISA agrees with itself, and any two of avx2, avx512
/// and amx agree.
bool isas_agree(std::string_view a, std::string_view b);

/// Errors: kInvalidArgument, an unknown ISA or one this CPU lacks; the message lists what is possible.
Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options);

}  // namespace commissure
