#include "ctl/stop_signals.hpp"

#include "base/error.hpp"

namespace vmad::ctl {
namespace {

// A signal handler reaches nothing but globals.
base::CancelFlag stop_flag;
volatile sig_atomic_t stop_signal = 0;

void on_stop(int signal) {
    stop_signal = signal;
    stop_flag.request();
}

}  // namespace

StopSignals::StopSignals() {
    struct sigaction action {};
    action.sa_handler = on_stop;
    action.sa_flags = SA_RESTART;
    if (::sigaction(SIGINT, &action, &old_interrupt_) < 0 ||
        ::sigaction(SIGTERM, &action, &old_terminate_) < 0)
        base::throw_errno("sigaction", "SIGINT and SIGTERM");
    // Who started us with one of them ignored, as nohup and a shell's background jobs do, wants it so.
    if (old_interrupt_.sa_handler == SIG_IGN) ::sigaction(SIGINT, &old_interrupt_, nullptr);
    if (old_terminate_.sa_handler == SIG_IGN) ::sigaction(SIGTERM, &old_terminate_, nullptr);
}

StopSignals::~StopSignals() {
    ::sigaction(SIGINT, &old_interrupt_, nullptr);
    ::sigaction(SIGTERM, &old_terminate_, nullptr);
}

const base::CancelFlag& StopSignals::flag() const noexcept { return stop_flag; }

int StopSignals::exit_status() noexcept { return 128 + stop_signal; }

}  // namespace vmad::ctl
