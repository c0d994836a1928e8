#include "cli/arguments.hpp"

#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::cli {
namespace {

/// As CLI11's own, but without the names of options that exclude or need each other, for which lines have no
/// room; a mistake is reported all the same.
class HelpFormatter final : public CLI::Formatter {
  public:
    HelpFormatter() {
        label("REQUIRED", "");
        label("Positionals", "Operands");
        label("SUBCOMMAND", "COMMAND");
    }

    std::string make_option_opts(const CLI::Option* option) const override {
        if (!option->get_option_text().empty()) return " " + option->get_option_text();
        std::string text;
        if (option->get_type_size() != 0 && !option->get_type_name().empty())
            text += " " + get_label(option->get_type_name());
        if (option->get_type_size() != 0 &&
            option->get_expected_max() == CLI::detail::expected_max_vector_size)
            text += " ...";
        return text;
    }
};

/// CLI11 misses the command, and does not say which word it took for none.
std::string message_of(const CLI::App& app, const CLI::ParseError& error) {
    const std::string message = error.what();
    if (message != "A subcommand is required") return message;
    const auto rest = app.remaining(true);
    if (rest.empty()) return "no command given";
    return fmt::format("unknown {}: {}", rest[0].starts_with('-') ? "option" : "command", rest[0]);
}

}  // namespace

Argument& Argument::required() {
    option_->required();
    return *this;
}

Argument& Argument::value_name(const std::string& name) {
    option_->type_name(name);
    return *this;
}

Argument& Argument::help_text(const std::string& text) {
    option_->option_text(text);
    return *this;
}

Argument& Argument::optional_value() {
    option_->expected(0, 1);
    return *this;
}

Argument& Argument::repeatable() {
    option_->expected(1)->take_all();
    return *this;
}

Argument& Argument::environment(const std::string& name) {
    option_->envname(name);
    return *this;
}

Argument& Argument::between(int least, int most) {
    option_->check(CLI::Range(least, most));
    return *this;
}

Argument& Argument::between(unsigned least, unsigned most) {
    option_->check(CLI::Range(least, most));
    return *this;
}

Argument& Argument::positive() {
    option_->check(CLI::PositiveNumber);
    return *this;
}

Argument& Argument::one_of(const std::vector<std::string>& words) {
    option_->check(CLI::IsMember(words).description(""));
    return *this;
}

Argument& Argument::excludes(Argument other) {
    option_->excludes(other.option_);
    return *this;
}

Argument& Argument::needs(Argument other) {
    option_->needs(other.option_);
    return *this;
}

bool Argument::given() const { return option_->count() > 0; }

Argument Arguments::flag(const std::string& names, bool& value, const std::string& help) {
    return Argument(app_->add_flag(names, value, help));
}

Argument Arguments::option(const std::string& names, std::string& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::option(const std::string& names, std::vector<std::string>& values,
                           const std::string& help) {
    return Argument(app_->add_option(names, values, help));
}

Argument Arguments::option(const std::string& names, int& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::option(const std::string& names, unsigned& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

Argument Arguments::option(const std::string& names, std::size_t& value, const std::string& help) {
    return Argument(app_->add_option(names, value, help));
}

// An operand is to CLI11 an option without dashes; its name says all about its type.
Argument Arguments::operand(const std::string& name, std::string& value, const std::string& help) {
    return option(name, value, help).value_name("");
}

Argument Arguments::operand(const std::string& name, std::vector<std::string>& values,
                            const std::string& help) {
    return option(name, values, help).value_name("");
}

Arguments Arguments::subcommand(const std::string& name, const std::string& help) {
    return Arguments(app_->add_subcommand(name, help)->group("Commands"));
}

void Arguments::require_subcommand() { app_->require_subcommand(1); }

void Arguments::footer(const std::string& text) { app_->footer(text); }

bool Arguments::named() const { return app_->parsed(); }

ArgumentParser::ArgumentParser(const std::string& program, const std::string& help,
                               const std::string& version)
    : app_(std::make_unique<CLI::App>(help, program)) {
    app_->set_version_flag("--version", version, "Print the version and exit");
    app_->set_help_flag("-h,--help", "Print this help and exit");
    app_->formatter(std::make_shared<HelpFormatter>());
    app_->fallthrough();
}

ArgumentParser::~ArgumentParser() = default;

std::optional<std::string> ArgumentParser::parse(int argc, const char* const* argv) {
    try {
        app_->parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        // Help and version come out as errors too.
        if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::Success))
            throw base::UsageError(fmt::format("{}; see --help", message_of(*app_, error)));
        std::ostringstream text;
        app_->exit(error, text, text);
        return text.str();
    }
    return std::nullopt;
}

}  // namespace vmad::cli
