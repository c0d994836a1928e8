// vmad: the daemon. `vmad [--config FILE]` serves in the foreground; `vmad worker` is its child for one job.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.hpp"
#include "daemon/log.hpp"
#include "daemon/queue_service.hpp"
#include "daemon/service_manager.hpp"
#include "daemon/service_socket.hpp"
#include "settings/settings.hpp"
#include "varlink/event_source.hpp"
#include "worker/worker_main.hpp"

namespace {

using namespace vmad;

// As sysexits.h and systemd name them, so that a service is not restarted again and again for bad settings.
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitConfig = 78;

settings::LoadedSettings load_settings(const std::optional<std::string>& file) {
    return file ? settings::load_file(*file) : settings::load_standard();
}

/// Signals arrive as events; what a child inherits is set when it is started.
void prepare_signals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&blocked, number);
    if (::sigprocmask(SIG_BLOCK, &blocked, nullptr) != 0) base::throw_errno("sigprocmask", "signals");
    ::signal(SIGPIPE, SIG_IGN);
}

int on_stop_signal(sd_event_source*, const struct signalfd_siginfo*, void* service) {
    try {
        daemon::tell_stopping();
        static_cast<daemon::QueueService*>(service)->stop();
    } catch (const std::exception& error) {
        spdlog::error("stop: {}", error.what());
    }
    return 0;
}

int on_reload_signal(sd_event_source*, const struct signalfd_siginfo*, void* service) {
    try {
        (void)static_cast<daemon::QueueService*>(service)->reload();
    } catch (const std::exception&) {
        // It has said so itself, and goes on with the settings that it has.
    }
    return 0;
}

int serve(const std::optional<std::string>& config) {
    const auto load = [&config] { return load_settings(config); };
    const auto [settings, warnings] = load();
    for (const auto& warning : warnings) spdlog::warn("{}", warning);
    prepare_signals();
    const auto event = varlink::make_event();
    io::FileSystem fs;
    // First of all: its lock keeps a second daemon away from the socket, too.
    queue::Spool spool(fs, settings.state_dir);
    daemon::ServiceSocket socket(settings.socket);
    daemon::QueueService service(event.get(), fs, settings, load, spool, socket.take());
    for (const int number : {SIGTERM, SIGINT})
        varlink::check_event(sd_event_add_signal(event.get(), nullptr, number, on_stop_signal, &service),
                             "sd_event_add_signal");
    varlink::check_event(sd_event_add_signal(event.get(), nullptr, SIGHUP, on_reload_signal, &service),
                         "sd_event_add_signal");
    // Fed by the loop itself: whatever holds the loop up, holds this up.
    varlink::check_event(sd_event_set_watchdog(event.get(), 1), "sd_event_set_watchdog");
    spdlog::info("vmad {} is ready", VMAD_VERSION);
    daemon::tell_ready();
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
    app.add_option("--config", config, "settings, instead of all the files in /etc and /usr/lib")
        ->type_name("FILE");
    app.set_version_flag("--version", std::string("vmad ") + VMAD_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : kExitUsage;
    }
    daemon::set_up_log();
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
