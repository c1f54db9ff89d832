#include "wire/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <map>
#include <utility>

#include "wire/codec.h"
#include "wire/frame.h"

namespace commissure {
namespace {

// The frame and what protobuf wraps around its rows.
constexpr int kMaxMessageBytes = static_cast<int>(kMaxFrameBytes) + 1024;

// A silent peer is noticed within half a minute even when no step is in flight.
constexpr int kKeepAliveMs = 20'000;
constexpr int kKeepAliveTimeoutMs = 10'000;

// A prefill chunk is one large message: let it cross in few, large HTTP/2 frames and without window stalls.
constexpr int kHttp2FrameBytes = 1 << 20;
constexpr int kLookaheadBytes = 8 << 20;

// What a peer can have before it has said who it is: calls at once on one connection (stage A has a handful), time
// until it speaks HTTP/2, and bytes read at a time, each 100 of which may open a call (some 40 KB) before anybody
// looks.
constexpr int kMostStreams = 64;
constexpr int kHttp2WaitMs = 15'000;
constexpr int kMostReadBytes = 256 << 10;

/// Adds the token to each call, on a thread of gRPC's own: the metadata server may let it wait.
class IdentityPlugin final : public grpc::MetadataCredentialsPlugin {
 public:
  explicit IdentityPlugin(std::shared_ptr<CallerIdentity> identity) : identity_(std::move(identity)) {}
  bool IsBlocking() const override { return true; }
  const char* GetType() const override { return "identity"; }
  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    const auto token = identity_->token();
    if (!token) return to_grpc(Error(Code::kUnavailable, token.error().message()));
    metadata->emplace("authorization", "Bearer " + *token);
    return grpc::Status();
  }

 private:
  const std::shared_ptr<CallerIdentity> identity_;
};

std::shared_ptr<grpc::ChannelCredentials> client_credentials(const Endpoint& endpoint, const ClientSecurity& security) {
  if (!endpoint.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = security.roots;
  auto credentials = grpc::SslCredentials(ssl);
  if (!security.identity) return credentials;
  auto plugin = grpc::MetadataCredentialsFromPlugin(std::make_unique<IdentityPlugin>(security.identity));
  return grpc::CompositeChannelCredentials(credentials, plugin);
}

}  // namespace

std::shared_ptr<grpc::Channel> open_channel(const Endpoint& endpoint, const ClientSecurity& security) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMaxMessageBytes);
  args.SetMaxSendMessageSize(kMaxMessageBytes);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveTimeoutMs);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kHttp2FrameBytes);
  args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // despite its name: how long one attempt may take
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);    // links do not share each other's back-off
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);               // a lost step is the engine's to repeat
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(endpoint.target, client_credentials(endpoint, security), args);
}

void tune_server(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kKeepAliveMs / 4);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kHttp2FrameBytes);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHttp2WaitMs);
  builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kMostReadBytes);
}

}  // namespace commissure
