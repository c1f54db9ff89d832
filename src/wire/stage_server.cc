#include "wire/stage_server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "wire/channel.h"

namespace commissure {

class StageServer::Impl {
 public:
  explicit Impl(StageService& stage_service) : service(stage_service) {}

  StageService& service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

StageServer::StageServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<StageServer>> StageServer::start(StageService& service, const std::vector<Endpoint>& endpoints,
                                                        const ServerSecurity& security) {
  auto impl = std::make_unique<Impl>(service);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  tune_server(builder);
  std::vector<int> ports(endpoints.size(), 0);  // gRPC fills them in while it binds
  std::string names;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    builder.AddListeningPort(endpoints[i].target, server_credentials(endpoints[i], security), &ports[i]);
    names += (i > 0 ? ", " : "") + endpoints[i].target;
  }
  builder.RegisterService(&service.grpc_service());
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) {
    return Error(Code::kUnavailable, "cannot listen on ", names,
                 ": another program has the port, or the socket's directory cannot be written");
  }
  for (std::size_t i = 0; i < endpoints.size() && impl->port == 0; ++i) {
    if (!endpoints[i].target.starts_with("unix:")) impl->port = ports[i];
  }
  auto* const health = impl->server->GetHealthCheckService();
  health->SetServingStatus("live", true);  // a stage that loads must not be restarted by a liveness probe
  service.set_health(health);
  return std::unique_ptr<StageServer>(new StageServer(std::move(impl)));
}

StageServer::~StageServer() { stop(std::chrono::milliseconds(0)); }

int StageServer::port() const { return impl_->port; }

void StageServer::stop(std::chrono::milliseconds grace) {
  if (impl_->server == nullptr) return;
  impl_->service.stop(grace);
  // Streams have been ended; what remains (a wake, a peer that reads no more) is cancelled shortly.
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  impl_->server->Wait();
  impl_->server.reset();
}

}  // namespace commissure
