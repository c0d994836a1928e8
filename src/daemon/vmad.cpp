// vmad: the daemon. `vmad [--config FILE]` serves in the foreground; `vmad worker` is its child for one job.
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "cli/arguments.hpp"
#include "daemon/log.hpp"
#include "daemon/queue_service.hpp"
#include "daemon/service_manager.hpp"
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
        daemon::notify_stopping();
        static_cast<daemon::QueueService*>(service)->stop();
    } catch (const std::exception& error) {
        daemon::log_error("stop", error.what());
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
    for (const auto& warning : warnings) daemon::log_warning(warning);
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
    daemon::log_info("vmad " VMAD_VERSION " is ready");
    daemon::notify_ready();
    const int code = sd_event_loop(event.get());
    varlink::check_event(code, "sd_event_loop");
    return code;
}

std::optional<pid_t> process_id(std::string_view text) {
    pid_t id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id <= 0) return std::nullopt;
    return id;
}

int run_worker(int argc, char** argv) {
    // Not for people: the daemon calls it with its own process id.
    const auto daemon = argc == 3 ? process_id(argv[2]) : std::nullopt;
    if (!daemon) {
        std::fputs("vmad worker: only for the daemon itself\n", stderr);
        return kExitUsage;
    }
    return worker::worker_main(*daemon);
}

struct CommandLine {
    std::optional<std::string> config;
    std::optional<std::string> text;  ///< to print, instead of serving
};

/// Throws base::UsageError.
CommandLine parse(int argc, char** argv) {
    cli::ArgumentParser parser("vmad", "Repack VMA backups so that they deduplicate, in the foreground.",
                               "vmad " VMAD_VERSION);
    std::string config;
    const auto option =
        parser.arguments()
            .option("--config", config, "Read these settings instead of the files in /etc and /usr/lib")
            .value_name("FILE");
    CommandLine line;
    line.text = parser.parse(argc, argv);
    if (option.given()) line.config = config;
    return line;
}

int run(int argc, char** argv) {
    CommandLine line;
    try {
        line = parse(argc, argv);
    } catch (const base::UsageError& error) {
        std::fprintf(stderr, "vmad: %s\n", error.what());
        return kExitUsage;
    }
    if (line.text) {
        std::fputs(line.text->c_str(), stdout);
        return 0;
    }
    daemon::set_up_log();
    try {
        return serve(line.config);
    } catch (const base::UsageError& error) {
        daemon::log_error(error.what());
        return kExitConfig;
    } catch (const std::exception& error) {
        daemon::log_error(error.what());
        return kExitFailure;
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "worker") return run_worker(argc, argv);
    return run(argc, argv);
}
