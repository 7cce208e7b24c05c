package pileus;

import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The runtime client for Java: takes invocations from the Runtime API and gives them to the handler.
 *
 * A handler is {@code package.Class::method} or {@code package.Class} (then {@code handleRequest}). Its parameters may be an
 * event (String, a number, Boolean, Map, List, Object), an InputStream and an OutputStream. Interfaces and the context of
 * {@code aws-lambda-java-core} are not known here: a package that needs them brings AWS's own runtime client.
 */
public final class Bootstrap {
    private final Socket socket;
    private final InputStream in;
    private final OutputStream out;
    private final String host;

    private Bootstrap(String address) throws IOException {
        host = address;
        int colon = address.lastIndexOf(':');
        socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
        socket.setTcpNoDelay(true);
        in = new BufferedInputStream(socket.getInputStream(), 65536);
        out = socket.getOutputStream();
    }

    private static final class Reply {
        final Map<String, String> headers = new HashMap<>();
        int status;
        byte[] body;
    }

    private String line() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (;;) {
            int next = in.read();
            if (next < 0) throw new EOFException();
            if (next == '\n') break;
            if (next != '\r') bytes.write(next);
        }
        return new String(bytes.toByteArray(), StandardCharsets.UTF_8);
    }

    private Reply request(String method, String path, byte[] body, String errorType) throws IOException {
        StringBuilder head = new StringBuilder(method).append(" /2018-06-01/runtime/").append(path);
        head.append(" HTTP/1.1\r\nHost: ").append(host).append("\r\nContent-Type: application/json\r\nContent-Length: ");
        head.append(body.length).append("\r\n");
        if (errorType != null) head.append("Lambda-Runtime-Function-Error-Type: ").append(errorType).append("\r\n");
        head.append("\r\n");
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        whole.write(head.toString().getBytes(StandardCharsets.UTF_8));
        whole.write(body);
        out.write(whole.toByteArray());
        Reply reply = new Reply();
        reply.status = Integer.parseInt(line().split(" ")[1]);
        for (String line = line(); !line.isEmpty(); line = line()) {
            int colon = line.indexOf(':');
            reply.headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).trim());
        }
        reply.body = new byte[Integer.parseInt(reply.headers.getOrDefault("content-length", "0"))];
        for (int have = 0; have < reply.body.length; ) {
            int more = in.read(reply.body, have, reply.body.length - have);
            if (more < 0) throw new EOFException();
            have += more;
        }
        return reply;
    }

    public static void main(String[] arguments) throws Exception {
        Bootstrap api = new Bootstrap(System.getenv("AWS_LAMBDA_RUNTIME_API"));
        Object target;
        Method method;
        try {
            String[] handler = System.getenv("_HANDLER").split("::");
            Class<?> type = Class.forName(handler[0]);
            method = find(type, handler.length > 1 ? handler[1] : "handleRequest");
            target = java.lang.reflect.Modifier.isStatic(method.getModifiers()) ? null : type.getDeclaredConstructor().newInstance();
            method.setAccessible(true);
        } catch (Throwable error) {
            Throwable cause = error instanceof InvocationTargetException ? error.getCause() : error;
            report(cause);
            api.request("POST", "init/error", describe(cause), cause.getClass().getName());
            System.exit(1);
            return;
        }
        for (;;) {
            Reply next = api.request("GET", "invocation/next", new byte[0], null);
            if (next.status != 200) System.exit(1);
            String id = next.headers.get("lambda-runtime-aws-request-id");
            String trace = next.headers.get("lambda-runtime-trace-id");
            if (trace != null) System.setProperty("com.amazonaws.xray.traceHeader", trace);
            try {
                byte[] answer = call(target, method, next.body);
                System.out.flush();
                api.request("POST", "invocation/" + id + "/response", answer, null);
            } catch (Throwable error) {
                Throwable cause = error instanceof InvocationTargetException ? error.getCause() : error;
                report(cause);
                api.request("POST", "invocation/" + id + "/error", describe(cause), cause.getClass().getName());
            }
        }
    }

    private static Method find(Class<?> type, String name) throws NoSuchMethodException {
        Method found = null;
        for (Method method : type.getMethods()) {
            boolean fits = method.getName().equals(name) && !method.isBridge();
            if (fits && (found == null || method.getParameterCount() > found.getParameterCount())) found = method;
        }
        if (found == null) throw new NoSuchMethodException(type.getName() + " has no public method " + name);
        return found;
    }

    private static byte[] call(Object target, Method method, byte[] event) throws Exception {
        Class<?>[] types = method.getParameterTypes();
        Object[] values = new Object[types.length];
        ByteArrayOutputStream written = null;
        for (int i = 0; i < types.length; i++) {
            if (types[i] == InputStream.class) values[i] = new ByteArrayInputStream(event);
            else if (types[i] == OutputStream.class) values[i] = written = new ByteArrayOutputStream();
            else if (i == 0) values[i] = convert(new Json(new String(event, StandardCharsets.UTF_8)).read(), types[i]);
            else throw new IllegalArgumentException("no " + types[i].getName() + " can be given to a handler here");
        }
        Object result = method.invoke(target, values);
        if (written != null) return written.toByteArray();
        StringBuilder text = new StringBuilder();
        Json.write(result, text);
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static Object convert(Object value, Class<?> type) {
        if (value == null) return null;
        if (value instanceof Number) {
            Number number = (Number) value;
            if (type == Integer.class || type == int.class) return number.intValue();
            if (type == Long.class || type == long.class) return number.longValue();
            if (type == Double.class || type == double.class) return number.doubleValue();
        }
        if (type.isInstance(value) || type == boolean.class) return value;
        throw new IllegalArgumentException("the event is no " + type.getName());
    }

    private static void report(Throwable error) {
        StringWriter text = new StringWriter();
        error.printStackTrace(new PrintWriter(text));
        byte[] bytes = text.toString().trim().getBytes(StandardCharsets.UTF_8);
        byte[] head = {0x1e, 'P', 'L', 'R', (byte) (bytes.length >> 24), (byte) (bytes.length >> 16), (byte) (bytes.length >> 8), (byte) bytes.length};
        System.out.write(head, 0, head.length);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }

    private static byte[] describe(Throwable error) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("errorMessage", String.valueOf(error.getMessage()));
        value.put("errorType", error.getClass().getName());
        List<Object> frames = new ArrayList<>();
        for (StackTraceElement frame : error.getStackTrace()) frames.add(frame.toString());
        value.put("stackTrace", frames);
        StringBuilder text = new StringBuilder();
        Json.write(value, text);
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    /** JSON to maps, lists, strings, numbers, and back. */
    private static final class Json {
        private static final int DEEPEST = 500;
        private final String text;
        private int at;
        private int depth;

        Json(String text) {
            this.text = text;
        }

        Object read() {
            Object value = value();
            space();
            if (at != text.length()) throw bad();
            return value;
        }

        private IllegalArgumentException bad() {
            return new IllegalArgumentException("the event is no JSON at " + at);
        }

        private void space() {
            while (at < text.length() && text.charAt(at) <= ' ') at++;
        }

        private char peek() {
            if (at >= text.length()) throw bad();
            return text.charAt(at);
        }

        private boolean takes(String word) {
            if (!text.startsWith(word, at)) return false;
            at += word.length();
            return true;
        }

        private Object value() {
            space();
            char next = peek();
            if (next == '{' || next == '[') {
                if (++depth > DEEPEST) throw bad();
                Object whole = next == '{' ? object() : list();
                depth--;
                return whole;
            }
            if (next == '"') return string();
            if (takes("true")) return Boolean.TRUE;
            if (takes("false")) return Boolean.FALSE;
            if (takes("null")) return null;
            int start = at;
            while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) at++;
            String number = text.substring(start, at);
            try {
                if (number.matches("-?\\d{1,9}")) return Integer.valueOf(number);
                if (number.matches("-?\\d{1,18}")) return Long.valueOf(number);
                return Double.valueOf(number);
            } catch (NumberFormatException error) {
                throw bad();
            }
        }

        private Object object() {
            Map<String, Object> map = new LinkedHashMap<>();
            at++;
            space();
            if (takes("}")) return map;
            for (;;) {
                space();
                if (peek() != '"') throw bad();
                String name = string();
                space();
                if (!takes(":")) throw bad();
                map.put(name, value());
                space();
                if (takes("}")) return map;
                if (!takes(",")) throw bad();
            }
        }

        private Object list() {
            List<Object> all = new ArrayList<>();
            at++;
            space();
            if (takes("]")) return all;
            for (;;) {
                all.add(value());
                space();
                if (takes("]")) return all;
                if (!takes(",")) throw bad();
            }
        }

        private String string() {
            StringBuilder out = new StringBuilder();
            at++;
            for (;;) {
                char next = peek();
                at++;
                if (next == '"') return out.toString();
                if (next != '\\') {
                    out.append(next);
                    continue;
                }
                char escaped = peek();
                at++;
                int plain = "\"\\/bfnrt".indexOf(escaped);
                if (plain >= 0) out.append("\"\\/\b\f\n\r\t".charAt(plain));
                else if (escaped == 'u' && at + 4 <= text.length()) {
                    out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                    at += 4;
                } else throw bad();
            }
        }

        static void write(Object value, StringBuilder out) {
            if (value == null || value instanceof Number || value instanceof Boolean) {
                out.append(value);
            } else if (value instanceof Map) {
                String comma = "{";
                if (((Map<?, ?>) value).isEmpty()) out.append('{');
                for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                    out.append(comma);
                    comma = ",";
                    quote(String.valueOf(entry.getKey()), out);
                    out.append(':');
                    write(entry.getValue(), out);
                }
                out.append('}');
            } else if (value instanceof Iterable) {
                String comma = "";
                out.append('[');
                for (Object each : (Iterable<?>) value) {
                    out.append(comma);
                    comma = ",";
                    write(each, out);
                }
                out.append(']');
            } else {
                quote(String.valueOf(value), out);
            }
        }

        private static void quote(String text, StringBuilder out) {
            out.append('"');
            for (int i = 0; i < text.length(); i++) {
                char c = text.charAt(i);
                if (c == '"' || c == '\\') out.append('\\').append(c);
                else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
                else out.append(c);
            }
            out.append('"');
        }
    }
}
