// vmad: the daemon. `vmad [--config FILE]` serves in the foreground; `vmad worker` is its child for one job.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include "base/error.hpp"
#include "daemon/queue_service.hpp"
#include "settings/settings.hpp"
#include "varlink/event_source.hpp"
#include "varlink/listening_socket.hpp"
#include "worker/worker_main.hpp"

namespace {

using namespace vmad;

constexpr const char* kDefaultConfig = "/etc/vmad/vmad.toml";
constexpr mode_t kSocketMode = 0600;
// As sysexits.h and systemd name them, so that a service is not restarted again and again for bad settings.
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitConfig = 78;

settings::Settings load_settings(const std::optional<std::string>& file) {
    if (file) return settings::load(*file);
    return ::access(kDefaultConfig, F_OK) == 0 ? settings::load(kDefaultConfig) : settings::Settings();
}

void set_up_log() {
    spdlog::set_default_logger(spdlog::stderr_color_st("vmad"));
    spdlog::set_pattern(::isatty(STDERR_FILENO) ? "%H:%M:%S %^%l%$ %v" : "%l: %v");
}

/// Signals arrive as events; what a child inherits is set when it is started.
void prepare_signals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&blocked, number);
    if (::sigprocmask(SIG_BLOCK, &blocked, nullptr) != 0) base::throw_errno("sigprocmask", "signals");
    ::signal(SIGPIPE, SIG_IGN);
}

int on_stop_signal(sd_event_source*, const struct signalfd_siginfo*, void* service) {
    try {
        static_cast<daemon::QueueService*>(service)->stop();
    } catch (const std::exception& error) {
        spdlog::error("stop: {}", error.what());
    }
    return 0;
}

/// The name of the socket, which goes with the daemon.
class RemovedAtEnd {
  public:
    explicit RemovedAtEnd(std::string path) : path_(std::move(path)) {}
    RemovedAtEnd(const RemovedAtEnd&) = delete;
    RemovedAtEnd& operator=(const RemovedAtEnd&) = delete;
    ~RemovedAtEnd() { ::unlink(path_.c_str()); }

  private:
    std::string path_;
};

int serve(const std::optional<std::string>& config) {
    const auto settings = load_settings(config);
    prepare_signals();
    const auto event = varlink::make_event();
    io::FileSystem fs;
    // First of all: its lock keeps a second daemon away from the socket, too.
    queue::Spool spool(fs, settings.state_dir);
    auto listening = varlink::listen_at(settings.socket, kSocketMode);
    const RemovedAtEnd socket(settings.socket);
    daemon::QueueService service(event.get(), fs, settings, spool, std::move(listening));
    for (const int number : {SIGTERM, SIGINT})
        varlink::check_event(sd_event_add_signal(event.get(), nullptr, number, on_stop_signal, &service),
                             "sd_event_add_signal");
    spdlog::info("vmad {} serves {}", VMAD_VERSION, settings.socket);
    sd_notify(0, "READY=1");
    const int code = sd_event_loop(event.get());
    varlink::check_event(code, "sd_event_loop");
    return code;
}

int run_worker(int argc, char** argv) {
    // Not for people: the daemon calls it with its own process id.
    if (argc != 3) {
        std::fputs("vmad worker: only for the daemon itself\n", stderr);
        return kExitUsage;
    }
    return worker::worker_main(static_cast<pid_t>(std::atol(argv[2])));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "worker") return run_worker(argc, argv);
    CLI::App app{"Repacks VMA backups so that they deduplicate. Runs in the foreground.", "vmad"};
    std::optional<std::string> config;
    app.add_option("--config", config, std::string("settings, instead of ") + kDefaultConfig)
        ->type_name("FILE");
    app.set_version_flag("--version", std::string("vmad ") + VMAD_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : kExitUsage;
    }
    set_up_log();
    try {
        return serve(config);
    } catch (const base::UsageError& error) {
        spdlog::error("{}", error.what());
        return kExitConfig;
    } catch (const std::exception& error) {
        spdlog::error("{}", error.what());
        return kExitFailure;
    }
}
